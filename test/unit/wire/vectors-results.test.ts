import { describe, expect, test } from 'vitest';
import { NotSupportedError } from '../../../src/errors.ts';
import { parseIsoTime } from '../../../src/wire/iso-time.ts';
import { decodeResult, encodeResult } from '../../../src/wire/result.ts';
import { decodeSavedGroup, encodeSavedGroup, taskIdsOf, toTuple } from '../../../src/wire/result-tuple.ts';
import { acceptList, decodeBody, loadSerializers } from '../../../src/wire/serializers.ts';
import { type Json, loadVectors, rawValue } from './vectors.ts';

interface Document {
  readonly label: string;
  readonly serializer: string;
  readonly document: string | Uint8Array;
  /** What the capture says is in it; undefined where it does not. */
  readonly expected: Json | undefined;
}

function collect(): Document[] {
  const documents: Document[] = [];
  for (const { label, name, raw, decoded } of loadVectors('result_')) {
    // Commands of a client, and a result that was not stored.
    if (name === 'result_client_commands' || raw === null) continue;
    const serializer = /^result_serializer_([a-z]+)/.exec(name)?.[1] ?? 'json';
    const meta = ((decoded as Json | null)?.meta ?? decoded) as Json | null;
    const isMany = typeof raw === 'object' && !('b64' in (raw as Json));
    for (const [key, item] of isMany ? Object.entries(raw as Json) : [['', raw] as const]) {
      const expected = (Array.isArray(meta) ? meta[Number(key)] : meta) as Json | null;
      documents.push({
        label: `${label} ${key}`,
        serializer,
        document: rawValue(item),
        expected: expected ?? undefined,
      });
    }
  }
  return documents;
}

const ALL = collect();
const isGroup = ({ label }: Document): boolean => label.includes('result_group_saved');

describe('results of real Celery', () => {
  test('there are as many as were captured', () => {
    expect(ALL.length).toBeGreaterThan(45);
  });

  test.each(ALL.filter(isGroup))('$label is a saved group, not a result of a task', ({ document, expected }) => {
    const group = decodeSavedGroup(document, 'json');
    expect(taskIdsOf(group)).toHaveLength(2);
    expect({ result: toTuple(group) }).toEqual(expected);
    // Written by us it is the same text: Celery's writer puts a space behind separators.
    expect(encodeSavedGroup(group, 'json')).toBe(JSON.stringify(JSON.parse(document as string)));
    expect(() => decodeResult(document, { serializer: 'json' })).toThrow(/expected status to be a text/);
  });

  test.each(ALL.filter((one) => one.serializer === 'pickle'))('$label is refused', ({ document }) => {
    expect(() => decodeResult(document, { serializer: 'pickle' })).toThrow(NotSupportedError);
  });

  test.each(ALL.filter((one) => one.serializer !== 'pickle' && !isGroup(one)))(
    '$label is read and written again',
    async (one) => {
      const { serializer, document } = one;
      await loadSerializers([serializer]);
      const meta = decodeResult(document, { serializer });
      const map = toMap(document, serializer);
      if (one.expected !== undefined) expect(map).toEqual(one.expected);
      checkMeta(meta, map);
      const again = toMap(encodeResult(meta, { serializer }), serializer);
      // children: null (a revoke written by Celery 5.6.2) is read as an empty list. date_done: milliseconds, and aware.
      expect({ ...again, date_done: null }).toEqual({ ...map, children: map.children ?? [], date_done: null });
      expect(instantOf(again.date_done)).toBe(instantOf(map.date_done));
      if (again.date_done !== null) expect(again.date_done).toMatch(/\+00:00$/);
      if (serializer === 'json') expect(Object.keys(again)).toEqual(Object.keys(map));
    },
  );
});

const instantOf = (value: unknown): unknown => (typeof value === 'string' ? parseIsoTime(value) : undefined);

function toMap(document: string | Uint8Array, serializer: string): Json {
  const accept = acceptList([serializer]);
  const [contentType = ''] = accept.contentTypes;
  return decodeBody(Buffer.from(document as Uint8Array), contentType, 'utf-8', accept) as Json;
}

function checkMeta(meta: ReturnType<typeof decodeResult>, map: Json): void {
  expect(meta.taskId).toBe(map.task_id);
  expect(meta.state).toBe(map.status);
  expect(meta.result).toEqual(map.result);
  expect(meta.traceback ?? null).toBe(map.traceback);
  expect(meta.children).toEqual(map.children ?? []);
  expect(meta.dateDone).toBe(instantOf(map.date_done));
  expect(meta.groupId).toBe(map.group_id);
  expect(meta.parentId).toBe(map.parent_id);
  expect(meta.name).toBe(map.name);
  expect(meta.args).toEqual(map.args);
  expect(meta.kwargs).toEqual(map.kwargs);
  expect(meta.worker).toBe(map.worker);
  expect(meta.retries).toBe(map.retries);
  expect(meta.queue).toBe(map.queue);
}
