/** Workflows of real Celery, message by message, in a form in which they can be compared with what is sent here. */
import { currentRunning } from '../../../src/app/tasks/current-task.ts';
import { type FailedRequest, group, Lovage } from '../../../src/index.ts';
import { decodeEnvelope } from '../../../src/wire/envelope.ts';
import type { WireMessage } from '../../../src/wire/message.ts';
import { decodeTask, encodeTask } from '../../../src/wire/protocol.ts';
import { acceptList } from '../../../src/wire/serializers.ts';
import type { TaskMessage } from '../../../src/wire/task-message.ts';
import { quiet } from '../../support/in-memory.ts';
import type { Json } from '../../unit/wire/vectors.ts';

const accept = acceptList(['json']);

/** A message of the vectors. */
export async function opened(envelope: string): Promise<{ wire: WireMessage; message: TaskMessage }> {
  const { message: wire } = decodeEnvelope(envelope);
  return { wire, message: await decodeTask(wire, { accept }) };
}

/** The application of the captures, which notes all messages that its tasks get. */
export function capturedApp(broker: string): { app: Lovage; taken: TaskMessage[]; told: unknown[] } {
  const app = new Lovage('cap', { broker, logger: quiet, jsonTags: false });
  const taken: TaskMessage[] = [];
  const told: unknown[] = [];
  app.use({
    before() {
      const message = currentRunning()?.message;
      if (message) taken.push(message);
    },
  });
  const add = app.task('cap.add', (x: number, y: number) => x + y);
  app.task('cap.mul', (x: number, y: number) => x * y);
  app.task('cap.xsum', (numbers: unknown[]) => (numbers.flat(9) as number[]).reduce((a, b) => a + b, 0));
  app.task('cap.fail', (text: unknown = 'boom') => {
    throw Object.assign(new TypeError(String(text)), { name: 'ValueError', args: [text] });
  });
  app.task('cap.replace', { bind: true }, (self, x: number): number => self.replace(add.s(x, 100)));
  app.task('cap.replace_group', { bind: true }, (self, x: number): number[] =>
    self.replace(group([add.s(x, 1), add.s(x, 2)])),
  );
  app.task('cap.spawn', async () => (await add.delay(1, 1)).id);
  app.task('cap.on_error_new', (request: FailedRequest, error: unknown, _traceback: string | undefined) => {
    told.push([request.id, error]);
  });
  app.task('cap.on_error_old', (id: string) => `errback for ${id}`);
  return { app, taken, told };
}

/** Ids as they were given, others by the order in which they come. */
export function sameIds(values: readonly Json[], known: ReadonlySet<string>): Json[] {
  const names = new Map<string, string>();
  return values.map((value) => {
    const text = JSON.stringify(value).replaceAll(
      /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g,
      (id) => {
        if (known.has(id)) return id;
        const name = names.get(id) ?? `new id ${names.size + 1}`;
        names.set(id, name);
        return name;
      },
    );
    return JSON.parse(text) as Json;
  });
}

/** The ids in a text. */
export function idsIn(text: string): Set<string> {
  return new Set(text.match(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g) ?? []);
}

/** A message without what says who sent it, and when. */
export function comparable(message: TaskMessage): Json {
  const { task, id, args, kwargs, groupIndex, rootId, parentId, chord, stamps } = message;
  const wire = encodeTask(message, { serializer: 'json', jsonTags: false });
  const [, , embed] = JSON.parse(Buffer.from(wire.body).toString()) as unknown[];
  return normal({
    ...{ task, id, args, kwargs, rootId, parentId, embed },
    // Celery tells members of plain groups their place since 5.3.4 only; for a chord it counts.
    ...(chord && { groupIndex }),
    ...(Object.keys(stamps ?? {}).length > 0 && { stamps }),
  }) as Json;
}

/** Options in signatures that the sender reads from the message, or that Celery writes there for itself. */
const silent = new Set(['reply_to', 'priority', 'add_to_parent', 'root_id', 'parent_id', 'replaced_task_nesting']);

/** Without what means nothing, or is not the same in all versions; keys in one order. */
function normal(value: unknown, inside = ''): unknown {
  // Celery writes a set.
  if (inside === 'stamped_headers' && Array.isArray(value)) return value.toSorted();
  if (Array.isArray(value))
    return value.length === 0 && inside === 'chain' ? undefined : value.map((one) => normal(one));
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).flatMap(([name, item]) => {
    if (item === undefined || item === null || (inside === 'options' && isSilent(name, value))) return [];
    const isWhole = name === 'options' && ['chain', 'chord'].includes((value as Json).subtask_type as string);
    // The id of a whole is that of a part of it; Celery writes one or the other, or none.
    const shown = normal(isWhole ? { ...item, task_id: undefined } : item, name);
    return shown === undefined ? [] : [[name, shown] as const];
  });
  return Object.fromEntries(fields.toSorted(([left], [right]) => (left < right ? -1 : 1)));
}

/** Also a body's group, and copies of a body in a header that has not been sent: both are made anew when it is. */
function isSilent(name: string, options: object): boolean {
  if (silent.has(name)) return true;
  if (name === 'group_id') return !('group_index' in options);
  return name === 'chord' && (!('group_index' in options) || !('group_id' in options));
}
