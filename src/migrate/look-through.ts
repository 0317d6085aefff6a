import type { Broker } from '../contracts/broker.ts';
import type { Delivery } from '../contracts/message.ts';
import type { LookThrough } from '../contracts/moving.ts';
import { MigrationError } from '../errors.ts';
import { sleep } from '../util/sleep.ts';
import { fingerprint } from './fingerprint.ts';
import type { Entry, Journal } from './journal.ts';

const MAX_ITEMS = 1000;

/** A queue has been seen whole when it gave nothing so often in a row, each time after a wait. */
const EMPTY_TIMES = 3;
const WAIT_MS = 1000;

/** Counts of a store that counts late may be so late: those of SQS up to a minute. */
const LATE_MS = 60_000;

/** What the look through a queue is made with. */
export interface LookOptions {
  readonly to: Broker;
  readonly journal: Journal;
  /** What is looked at is leased for so long; a worker has as much time to end what it has. */
  readonly leaseMs: number;
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
  options: LookOptions,
): Promise<{ there: Entry[]; missing: Entry[] }> {
  const { to, journal, signal, onNote } = options;
  await waitForWorkers(queue, options);
  onNote(`looks through queue ${queue} of ${to.url} for ${entries.length} messages that may be there`);
  const found = new Map<string, number>();
  // Of messages that look the same there may be several, and some that are known to be there.
  const wanted = new Map<string, number>();
  for (const { fingerprint: print } of entries) wanted.set(print, (wanted.get(print) ?? journal.sentLike(print)) + 1);
  const enough = () => [...wanted].every(([print, count]) => (found.get(print) ?? 0) >= count);
  const look = to.lookThrough?.bind(to) ?? receivedOf(entries, options);
  await look(
    queue,
    (message) => {
      const print = fingerprint(queue, message).toString('hex');
      found.set(print, (found.get(print) ?? 0) + 1);
      return wanted.has(print) && enough();
    },
    signal,
  );
  if (signal.aborted) throw new MigrationError('ended while it looked through the destination; run it again');
  return sortOut(entries, found, journal);
}

/** What a worker has cannot be seen. It may be a look that was killed, whose messages come back. */
async function waitForWorkers(queue: string, { to, leaseMs, signal, onNote }: LookOptions): Promise<void> {
  const until = performance.now() + leaseMs + (to.features.approximate ? LATE_MS : 0);
  const count = async () => (await to.countMany([queue]))[0]?.inFlight ?? 0;
  let inFlight = await count();
  if (inFlight > 0) onNote(`waits for ${inFlight} messages of queue ${queue} of ${to.url}, which somebody has`);
  while (inFlight > 0 && performance.now() < until && !signal.aborted) {
    await sleep(WAIT_MS, signal);
    inFlight = await count();
  }
  if (inFlight === 0) return;
  throw new MigrationError(
    `it cannot be told whether some messages have arrived in queue ${queue} of ${to.url}: ${inFlight} messages of it are with workers. Stop the workers of that queue and run again, or have those messages sent once more with --resend`,
  );
}

/** The look through a queue of a store that has none of its own: what is parked is listed, what is ready is received and given back. */
function receivedOf(entries: readonly Entry[], options: LookOptions): LookThrough {
  const { to, leaseMs } = options;
  return async (queue, see, signal) => {
    if (!to.parked) await waitForDelayed(entries, options);
    for (const { message } of (await to.parked?.list(queue, Number.POSITIVE_INFINITY)) ?? []) if (see(message)) return;
    const hasLeases = to.features.leaseMs !== undefined;
    const consumer = await to.consume([queue], hasLeases ? { leaseMs } : {});
    const held: Delivery[] = [];
    let renewAt = performance.now() + leaseMs / 2;
    try {
      for (let empty = 0; empty < EMPTY_TIMES && !signal.aborted; ) {
        if (hasLeases && performance.now() >= renewAt) {
          renewAt = performance.now() + leaseMs / 2;
          await to.extendMany(held, leaseMs);
        }
        const received = await consumer.receive(MAX_ITEMS, WAIT_MS, signal);
        held.push(...received);
        for (const { message } of received) if (see(message)) return;
        empty = received.length > 0 ? 0 : empty + 1;
      }
    } finally {
      await consumer.close();
    }
  };
}

/** What is delayed where it cannot be seen will be seen when it is due. */
async function waitForDelayed(entries: readonly Entry[], { to, signal, onNote }: Omit<LookOptions, 'journal'>) {
  const now = Date.now();
  const latest = Math.max(...entries.map(({ dueAt = 0 }) => Math.min(dueAt, now + to.features.maxDelayMs)));
  if (latest <= now) return;
  onNote(`waits until ${new Date(latest).toISOString()}: some of these messages are not due before`);
  await sleep(latest - now + WAIT_MS, signal);
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
