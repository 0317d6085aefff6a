import type { Bus } from '../contracts/bus.ts';
import { newId } from '../util/ids.ts';
import { sleep } from '../util/sleep.ts';
import { pidboxTopic, type Reply, read, replyTopic, write } from '../wire/pidbox.ts';

/** Asks all workers (or those named) and collects what they say within `timeoutMs`: worker name to answer. */
export async function ask(
  bus: Bus,
  method: string,
  options: { destination?: readonly string[]; timeoutMs?: number } = {},
): Promise<Record<string, unknown>> {
  const { destination = [], timeoutMs = 1000 } = options;
  const ticket = newId();
  const key = newId();
  const answers: Record<string, unknown> = {};
  const complete = new AbortController();
  const stop = await bus.listen(replyTopic(key), (payloads) => {
    for (const payload of payloads) {
      const reply = read<Reply>(payload);
      if (reply?.ticket === ticket) Object.assign(answers, reply.replies);
    }
    if (destination.length > 0 && destination.every((name) => name in answers)) complete.abort();
  });
  try {
    const request = {
      method,
      arguments: {},
      destination: destination.length > 0 ? destination : null,
      ticket,
      reply_to: { exchange: 'reply.celery.pidbox', routing_key: key },
    };
    await bus.emitMany(pidboxTopic, [write(request)]);
    await sleep(timeoutMs, complete.signal);
  } finally {
    await stop();
  }
  return answers;
}
