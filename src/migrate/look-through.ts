import type { Broker, Consumer, Delivery } from '../contracts/broker.ts';
import { MigrationError } from '../errors.ts';
import { sleep } from '../util/sleep.ts';
import { fingerprint } from './fingerprint.ts';
import type { Entry, Journal } from './journal.ts';

const LEASE_MS = 3600_000;
const MAX_ITEMS = 1000;

/** A queue has been seen whole when it gave nothing so often in a row, each time after a wait. */
const EMPTY_TIMES = 3;
const WAIT_MS = 1000;

/** What the look through a queue is made with. */
export interface LookOptions {
  readonly to: Broker;
  readonly journal: Journal;
  readonly signal: AbortSignal;
  readonly onNote: (text: string) => void;
}

/**
 * Finds out which messages are in a queue of the destination already, by taking all of it into the hand and giving it back.
 * It can tell only while nobody else takes from that queue.
 * @throws MigrationError where a worker has messages of it
 */
export async function lookThrough(
  queue: string,
  entries: readonly Entry[],
  { to, journal, signal, onNote }: LookOptions,
): Promise<{ there: Entry[]; missing: Entry[] }> {
  await refuseWorkers(to, queue);
  onNote(`looks through queue ${queue} of ${to.url} for ${entries.length} messages that may be there`);
  const found = new Map<string, number>();
  const see = (print: string) => found.set(print, (found.get(print) ?? 0) + 1);
  await waitForDelayed(entries, { to, signal, onNote });
  for (const { message } of (await to.parked?.list(queue, Number.POSITIVE_INFINITY)) ?? []) {
    see(fingerprint(queue, message).toString('hex'));
  }
  const consumer = await to.consume([queue], to.features.leaseMs === undefined ? {} : { leaseMs: LEASE_MS });
  try {
    await takeAll(consumer, signal, ({ message }) => see(fingerprint(queue, message).toString('hex')));
  } finally {
    await consumer.close();
  }
  if (signal.aborted) throw new MigrationError('ended while it looked through the destination; run it again');
  return sortOut(entries, found, journal);
}

async function refuseWorkers(to: Broker, queue: string): Promise<void> {
  const [depth] = await to.countMany([queue]);
  if (!depth || depth.inFlight === 0) return;
  throw new MigrationError(
    `it cannot be told whether some messages have arrived in queue ${queue} of ${to.url}: ${depth.inFlight} messages of it are with workers. Stop the workers of that queue and run again, or have those messages sent once more with --resend`,
  );
}

/** What is delayed where it cannot be seen will be seen when it is due. */
async function waitForDelayed(entries: readonly Entry[], { to, signal, onNote }: Omit<LookOptions, 'journal'>) {
  if (to.parked) return;
  const now = Date.now();
  const latest = Math.max(...entries.map(({ dueAt = 0 }) => Math.min(dueAt, now + to.features.maxDelayMs)));
  if (latest <= now) return;
  onNote(`waits until ${new Date(latest).toISOString()}: some of these messages are not due before`);
  await sleep(latest - now + WAIT_MS, signal);
}

async function takeAll(consumer: Consumer, signal: AbortSignal, see: (delivery: Delivery) => void): Promise<void> {
  for (let empty = 0; empty < EMPTY_TIMES && !signal.aborted; ) {
    const received = await consumer.receive(MAX_ITEMS, WAIT_MS, signal);
    received.forEach(see);
    empty = received.length > 0 ? 0 : empty + 1;
  }
}

/** Of messages that look the same, as many as were found beyond those known to be there have arrived. */
function sortOut(entries: readonly Entry[], found: ReadonlyMap<string, number>, journal: Journal) {
  const spare = new Map<string, number>();
  const there: Entry[] = [];
  const missing: Entry[] = [];
  for (const entry of entries) {
    const print = entry.fingerprint;
    const left = spare.get(print) ?? (found.get(print) ?? 0) - journal.sentLike(print);
    spare.set(print, left - 1);
    (left > 0 ? there : missing).push(entry);
  }
  return { there, missing };
}
