import { idOf } from '../../canvas/freeze.ts';
import {
  bodyOf,
  headerOf,
  kindOf,
  signaturesIn,
  taskOf,
  tasksOf,
  textIn,
  withOptions,
} from '../../canvas/wire-tree.ts';
import { StoreError } from '../../errors.ts';
import { readSignature } from '../../wire/task-fields.ts';
import type { WireSignature } from '../../wire/task-message.ts';
import type { Prepared } from '../sending/prepare.ts';
import type { Results } from './results.ts';

/**
 * The task that stands for what is kept in the result backend (`canvasStorage: 'backend'`). A worker in TypeScript looks it
 * up before it sends anything; one in Python sends it like any other, and it is looked up where it runs.
 */
export const laterTask = 'lovage.later';

/** Smaller ones travel as they are: a look into the store would cost more. */
const smallBytes = 512;

/** The key of the body of a chord. */
export function bodyKey(joinId: string): string {
  return `canvas:${joinId}:body`;
}

export function isLater({ task }: WireSignature): boolean {
  return task === laterTask;
}

/**
 * Keeps what follows messages in the result backend, each part of it once, and has the messages name it. So neither the
 * members of a chord nor the steps of a chain carry along all that is still to come.
 */
export async function keepLater(
  results: Results,
  messages: readonly Prepared[],
  ttlMs: number | undefined,
): Promise<readonly Prepared[]> {
  const kept = new Map<string, WireSignature>();
  const smaller = messages.map((one) => {
    const { chain, chord, groupId } = one.message;
    if (!chain?.length && !chord) return one;
    const message = {
      ...one.message,
      ...(chain?.length && { chain: shortChain(chain, kept) }),
      ...(chord && { chord: shortBody(chord, groupId ?? '', kept) }),
    };
    return { ...one, message };
  });
  if (kept.size === 0) return messages;
  await results.keepSignatures(kept, ttlMs);
  return smaller;
}

/** The next step with a name for all after it, each of those likewise. In the order of the wire: the next one last. */
function shortChain(chain: readonly WireSignature[], kept: Map<string, WireSignature>): readonly WireSignature[] {
  if (chain.every(isLater) || bytesOf(chain) <= smallBytes) return chain;
  let after: readonly WireSignature[] = [];
  for (const step of chain) {
    const rest = [...after, ...signaturesIn(step.options, 'chain')];
    // A name stands for its own steps only: those of the chain it is in come after them.
    after = isLater(step)
      ? [...after, step]
      : [nameFor({ ...step, options: { ...step.options, chain: rest } }, `canvas:${idOf(step)}`, kept)];
  }
  return after;
}

function shortBody(body: WireSignature, joinId: string, kept: Map<string, WireSignature>): WireSignature {
  if (isLater(body)) return body;
  const key = bodyKey(joinId);
  const known = kept.get(key);
  if (!known && bytesOf(body) <= smallBytes) return body;
  const { chain } = body.options;
  const rest =
    Array.isArray(chain) && chain.length > 0 && !known ? shortChain(chain as WireSignature[], kept) : undefined;
  return nameFor(known ?? (rest ? { ...body, options: { ...body.options, chain: rest } } : body), key, kept);
}

function nameFor(whole: WireSignature, key: string, kept: Map<string, WireSignature>): WireSignature {
  kept.set(key, whole);
  const { group_id, group_index, chord, link_error, queue, headers } = whole.options;
  const told = { group_id, group_index, chord, link_error, queue, headers };
  const options = Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined && value !== null));
  return taskOf(laterTask, { key }, { ...options, task_id: idOf(whole) });
}

function bytesOf(value: unknown): number {
  return JSON.stringify(value).length;
}

/** What a name stands for. @throws StoreError where it is kept no more */
export async function lookUpLater(results: Results, named: WireSignature): Promise<WireSignature> {
  if (!isLater(named)) return named;
  const key = textIn(named.kwargs, 'key') ?? '';
  const found = await results.fetchSignature(key);
  if (!found) throw new LaterLost(key);
  const whole = readSignature(found, key);
  // What the name was given on its way: its place, and what follows.
  const { chord, group_id, group_index, root_id, parent_id } = named.options;
  const chain = [...signaturesIn(named.options, 'chain'), ...signaturesIn(whole.options, 'chain')];
  const place = { chord, group_id, group_index, root_id, parent_id, ...(chain.length > 0 && { chain }) };
  return withOptions(whole, place);
}

/** What was to follow is not in the result backend any more; trying again would not help. */
class LaterLost extends StoreError {
  override readonly retryable = false;
  constructor(key: string) {
    super(
      `${key}: what follows this task was kept in the result backend, and is gone; keep results for longer (resultExpires)`,
    );
  }
}

/** A signature with all that its names stand for, in whichever part of it: for whoever has to end all of it. */
export async function lookUpAll(results: Results, signature: WireSignature): Promise<WireSignature> {
  const found = await lookUpLater(results, signature);
  const { chain } = found.options;
  const whole = await lookUpParts(results, found);
  if (!Array.isArray(chain) || chain.length === 0) return whole;
  return { ...whole, options: { ...whole.options, chain: await lookUpChain(results, chain as WireSignature[]) } };
}

async function lookUpParts(results: Results, whole: WireSignature): Promise<WireSignature> {
  switch (kindOf(whole)) {
    case 'task':
      return whole;
    case 'chord': {
      const header = await lookUpAll(results, headerOf(whole));
      return { ...whole, kwargs: { ...whole.kwargs, header, body: await lookUpAll(results, bodyOf(whole)) } };
    }
    default:
      return { ...whole, kwargs: { ...whole.kwargs, tasks: await lookUpChain(results, tasksOf(whole)) } };
  }
}

export async function lookUpChain(
  results: Results,
  chain: readonly WireSignature[],
): Promise<readonly WireSignature[]> {
  return Promise.all(chain.map((step) => lookUpAll(results, step)));
}
