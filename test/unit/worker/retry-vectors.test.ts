import { expect, test } from 'vitest';
import { Lovage } from '../../../src/index.ts';
import { decodeEnvelope } from '../../../src/wire/envelope.ts';
import type { WireMessage } from '../../../src/wire/message.ts';
import { decodeTask, encodeTask } from '../../../src/wire/protocol.ts';
import { acceptList } from '../../../src/wire/serializers.ts';
import { again } from '../../../src/worker/settling/follow-ups.ts';
import { loadVectors } from '../wire/vectors.ts';

/** The headers that say who sent it, and when; and those that Celery has since 5.3 only. */
const own = ['eta', 'origin', 'lang', 'replaced_task_nesting', 'stamped_headers', 'stamps'];

/** What a worker of real Celery took, and what it sent to have it retried: envelopes by their `retries`. */
function captured(): Map<unknown, WireMessage> {
  const commands = loadVectors('worker_retry').flatMap(({ raw }) => raw as string[][]);
  const messages = commands.flatMap(([command, , ...rest]) => {
    // `HSET unacked <tag> [envelope, exchange, routing key]`, then `LPUSH <queue> envelope`.
    if (command === 'HSET') return [decodeEnvelope(JSON.stringify(JSON.parse(rest[1] ?? '')[0])).message];
    return command === 'LPUSH' ? [decodeEnvelope(rest[0] ?? '').message] : [];
  });
  return new Map(messages.map((message) => [message.headers.retries, message]));
}

test('the message of a retry is that of real Celery, header for header, with the same body', async () => {
  await using app = new Lovage('test', { broker: 'memory://retry-vectors' });
  const messages = captured();
  const [taken, retried] = [messages.get(0), messages.get(1)];
  if (!taken || !retried) throw new Error('the vector has no retry');
  const task = await decodeTask(taken, { accept: acceptList(['json']) });
  const eta = Date.parse(String(retried.headers.eta));
  const { message } = again(app, task, 'celery', { dueAt: eta });
  const ours = encodeTask(message, { serializer: 'json', jsonTags: true });
  const headers = (all: object) => Object.fromEntries(Object.entries(all).filter(([name]) => !own.includes(name)));
  expect(headers(ours.headers)).toEqual(headers(retried.headers));
  expect(Date.parse(String(ours.headers.eta))).toBe(eta);
  const body = (message: WireMessage) => JSON.parse(Buffer.from(message.body).toString());
  expect(body(ours)).toEqual(body(retried));
  expect(ours.properties.correlationId).toBe(retried.properties.correlationId);
  expect(ours.properties.replyTo).toBe(retried.properties.replyTo);
});
