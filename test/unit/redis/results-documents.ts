import { type Json, loadVectors, rawValue } from '../wire/vectors.ts';

/** A result that real Celery has stored. */
export interface CeleryDocument {
  readonly label: string;
  readonly serializer: string;
  readonly taskId: string;
  /** Read from the capture's bytes by nothing of ours. */
  readonly state: string;
  readonly document: string | Uint8Array;
}

/** All documents of the `result_*` vectors that are results of tasks, pickles among them. */
export function celeryDocuments(): CeleryDocument[] {
  return loadVectors('result_').flatMap(({ label, name, raw }) => {
    if (name === 'result_client_commands' || name === 'result_group_saved' || raw === null) return [];
    const serializer = /^result_serializer_([a-z]+)/.exec(name)?.[1] ?? 'json';
    const isMany = typeof raw === 'object' && !('b64' in (raw as Json));
    return (isMany ? Object.entries(raw as Json) : [['', raw] as const]).map(([key, item]) => {
      const document = rawValue(item);
      const text = typeof document === 'string' ? document : Buffer.from(document).toString('latin1');
      const [, state = ''] = /status\W{1,5}([A-Z]+)/.exec(text) ?? [];
      const [, taskId = ''] = /task_id[^0-9a-f]{1,5}?([0-9a-f-]{36})/.exec(text) ?? [];
      return { label: `${label} ${key}`, serializer, taskId, state, document };
    });
  });
}
