import type { Bus } from '../contracts/bus.ts';
import { newId } from '../util/ids.ts';
import { sleep } from '../util/sleep.ts';
import { pidboxTopic, type Reply, read, replyTopic, writeRequest } from '../wire/pidbox.ts';

export interface AskOptions {
  /** Only these workers are meant; all where there are none. */
  readonly destination?: readonly string[];
  /** How long answers are waited for, in milliseconds. Default 1,000. */
  readonly timeoutMs?: number;
  /** Ends the wait before that. */
  readonly signal?: AbortSignal | undefined;
}

/** What workers said: worker name to answer, and the names that more than one worker answered to. */
export interface Answers {
  readonly answers: Readonly<Record<string, unknown>>;
  readonly doubled: readonly string[];
}

/** Asks all workers (or those named) and collects what they say, until all who were named have, or the time is over. */
export async function ask(bus: Bus, method: string, options: AskOptions = {}): Promise<Answers> {
  const { destination = [], signal } = options;
  const answers: Record<string, unknown> = {};
  const doubled = new Set<string>();
  const complete = new AbortController();
  const until = signal ? AbortSignal.any([signal, complete.signal]) : complete.signal;
  await collect(bus, method, { ...options, signal: until }, ({ replies }) => {
    for (const name of Object.keys(replies)) if (name in answers) doubled.add(name);
    Object.assign(answers, replies);
    if (destination.length > 0 && destination.every((name) => name in answers)) complete.abort();
  });
  return { answers, doubled: [...doubled].sort() };
}

/** How many workers answer to a name. Waits for the whole time, since nobody knows how many there are. */
export async function countNamed(
  bus: Bus,
  name: string,
  options: Omit<AskOptions, 'destination'> = {},
): Promise<number> {
  let count = 0;
  await collect(bus, 'ping', { ...options, destination: [name] }, ({ replies }) => {
    if (name in replies) count += 1;
  });
  return count;
}

/** Asks, and hands over each reply as it comes. */
async function collect(bus: Bus, method: string, options: AskOptions, onReply: (reply: Reply) => void): Promise<void> {
  const { destination = [], timeoutMs = 1000, signal } = options;
  const ticket = newId();
  const key = newId();
  const stop = await bus.listen(replyTopic(key), (payloads) => {
    for (const payload of payloads) {
      const reply = read<Reply>(payload);
      if (reply?.ticket === ticket && reply.replies) onReply(reply);
    }
  });
  try {
    const request = {
      method,
      arguments: {},
      destination: destination.length > 0 ? destination : null,
      ticket,
      reply_to: { exchange: 'reply.celery.pidbox', routing_key: key },
    };
    await bus.emitMany(pidboxTopic, [writeRequest(request)]);
    await sleep(timeoutMs, signal);
  } finally {
    await stop();
  }
}
