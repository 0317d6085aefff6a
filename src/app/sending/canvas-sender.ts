import type { Sent } from '../../canvas/canvas.ts';
import { chordMembers } from '../../canvas/expand.ts';
import { freeze, nodeOf } from '../../canvas/freeze.ts';
import { stamped, withStamps } from '../../canvas/stamps.ts';
import { toWireOptions, wireSignatures } from '../../canvas/wire-options.ts';
import { withOptions } from '../../canvas/wire-tree.ts';
import { ConfigError } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import { toTuple } from '../../wire/result-tuple.ts';
import type { WireSignature } from '../../wire/task-message.ts';
import type { TaskHost } from '../host.ts';
import { resultHandle } from '../results/result-handle.ts';
import { currentRunning } from '../tasks/current-task.ts';
import type { CallOptions, Sendable } from '../tasks/task-options.ts';
import { begin, launch } from './launch.ts';

/** Sends a chain, a group or a chord: all ids are fixed before anything is published. */
export async function sendCanvas(
  app: TaskHost,
  canvas: Sendable,
  args: readonly unknown[],
  { retry, retryPolicy, signal, stamps, ...options }: CallOptions,
): Promise<Sent> {
  const running = currentRunning();
  const far = withStamps(stamps, running?.message.stamps);
  const frozen = freeze(stamped(withOptions(canvas.toWire(), toWireOptions(options)), far), newId);
  await checkChords(app, frozen);
  const all = launch(app, frozen, { args, ids: newId });
  const { publisher, results } = await app.connections();
  await publisher.publishMany(await begin(app, results, all), { retry, retryPolicy, signal });
  running?.children.push(...all.launched.map(toTuple));
  const ignored = new Set(all.messages.flatMap(({ message }) => (message.ignoreResult ? [message.id] : [])));
  const node = nodeOf(frozen);
  return node && resultHandle(node, app, (id) => ignored.has(id));
}

/** Refuses links of a call with a chord that could never end. */
export async function checkLinks(app: TaskHost, { link, linkError }: CallOptions): Promise<void> {
  for (const one of wireSignatures([link ?? [], linkError ?? []].flat())) await checkChords(app, freeze(one, newId));
}

/** Refuses a chord that could never end, wherever it is in a workflow. */
export async function checkChords(app: TaskHost, frozen: WireSignature): Promise<void> {
  const members = chordMembers(frozen);
  if (members.length === 0) return;
  const { joins, name } = (await app.results()).required();
  if (!joins) throw new ConfigError(`chords need a result backend that can count their members; ${name} cannot`);
  for (const { task, options } of members) {
    const own = app.tasks.get(task)?.options.ignoreResult;
    if (options.ignore_result ?? own ?? app.config.taskIgnoreResult)
      throw new ConfigError(`${task} is a member of a chord, so its result cannot be ignored`);
  }
}
