import type { LookThrough } from '../../contracts/moving.ts';
import { isPassing, MigrationError } from '../../errors.ts';
import { sleep } from '../../util/sleep.ts';
import type { SqsQueue } from './api.ts';
import { readableBody, takenOf } from './messages.ts';
import type { SqsPayloads } from './payloads.ts';
import type { SqsQueues } from './queues.ts';

/** What is looked at is hidden for so long, unless the look takes longer; should it be killed, all comes back then. */
const LOOK_SECONDS = 60;
/** Requests at once. */
const AT_ONCE = 8;
/** SQS has servers that do not hear of each other at once: a queue is empty when it gave nothing so often in a row. */
const EMPTY_TIMES = 3;
/** A request is tried so often. */
const TRIES = 4;
/** Messages that are hidden or shown in one go. */
const AT_A_TIME = 200;

/** Shows all messages of a queue, by hiding and then showing them: they are neither copied nor deleted. */
export function sqsLookThrough(queues: SqsQueues, payloads: SqsPayloads | undefined): LookThrough {
  return async (name, see, signal) => {
    for (const { at } of queues.steps(name)) {
      const queue = await queues.get(at);
      if (queue.isFifo) throw unseen(queue);
      const handles = new Map<string, string>();
      const delayMs = queues.location.hopMs;
      try {
        if (await look(queue, { handles, payloads, see, signal, delayMs })) return;
      } finally {
        await hide(queue, [...handles.values()], 0);
      }
    }
  };
}

interface Look {
  /** Of each message the last handle, which alone is good. */
  readonly handles: Map<string, string>;
  readonly payloads: SqsPayloads | undefined;
  readonly see: Parameters<LookThrough>[1];
  readonly signal: AbortSignal;
  /** Longest time for which a message can be out of sight. */
  readonly delayMs: number;
}

/** Returns whether enough was seen. */
async function look(queue: SqsQueue, { handles, payloads, see, signal, delayMs }: Look): Promise<boolean> {
  const until = performance.now() + delayMs + 1000;
  let renewAt = performance.now() + LOOK_SECONDS * 500;
  let failures = 0;
  for (let empty = 0; !signal.aborted; ) {
    if (performance.now() >= renewAt) {
      renewAt = performance.now() + LOOK_SECONDS * 500;
      await hide(queue, [...handles.values()], LOOK_SECONDS);
    }
    const request = { max: 10, waitSeconds: empty, leaseSeconds: LOOK_SECONDS };
    const several = Array.from({ length: empty === 0 ? AT_ONCE : 1 }, () => queue.api.receive(queue, request));
    const answers = await Promise.allSettled(several);
    const messages = answers.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    const taken = messages.map((message) => takenOf(message, queue, Date.now()));
    const fresh = taken.filter(({ tag }) => !handles.has(tag.id));
    // All of them, before anything else: they are to be shown again.
    for (const { tag } of taken) handles.set(tag.id, tag.handle);
    const bodies = await payloads?.fetch(fresh);
    for (const one of fresh) {
      const body = bodies?.get(one);
      if (see(readableBody(typeof body === 'string' ? body : one.body))) return true;
    }
    const failed = answers.find((one) => one.status === 'rejected');
    failures = failed ? failures + 1 : 0;
    // One failure must not cost all that was seen.
    if (failed && failures >= TRIES) throw failed.reason;
    if (failed) continue;
    empty = taken.length > 0 ? 0 : empty + 1;
    if (empty < EMPTY_TIMES) continue;
    const { ApproximateNumberOfMessagesDelayed: delayed = '0' } = await queue.api.attributes(queue);
    // Delayed messages come into sight within the longest delay that SQS has.
    if (delayed === '0' || performance.now() >= until) return false;
    await sleep(1000, signal);
    empty = 1;
  }
  return false;
}

function unseen({ name }: SqsQueue): MigrationError {
  return new MigrationError(
    `queue '${name}' is a FIFO queue, and cannot be looked through: a message hides those of its group behind it. It was sent more than 4 minutes ago, so SQS does not know it any more either. See which of the tasks have come, or send all of them again with --resend: then those that had arrived are there twice`,
  );
}

/** Has messages hidden for so long; 0 shows them. What cannot be shown comes back by itself. */
async function hide(queue: SqsQueue, handles: readonly string[], seconds: number): Promise<void> {
  for (let from = 0; from < handles.length; from += AT_A_TIME) {
    let items = handles.slice(from, from + AT_A_TIME).map((handle) => ({ handle, seconds }));
    for (let attempt = 0; items.length > 0 && attempt < TRIES; attempt++) {
      const now = items;
      const failures = await queue.api
        .hideMany(queue, now)
        .catch((error: Error) => now.map((_, index) => ({ index, error })));
      items = failures.flatMap(({ index, error }) => (isPassing(error) ? (now[index] ?? []) : []));
    }
  }
}
