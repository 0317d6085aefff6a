import { randomUUID } from 'node:crypto';
import type { WireMessage } from '../wire/message.ts';

/** A message as Celery's protocol 2 has it, of about 700 bytes. `changes` replaces parts of it. */
export function testMessage(changes: Partial<WireMessage> = {}): WireMessage {
  const id = randomUUID();
  return {
    body: new TextEncoder().encode('[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'),
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: {
      lang: 'js',
      task: 'tasks.add',
      id,
      shadow: null,
      eta: null,
      expires: null,
      group: null,
      group_index: null,
      retries: 0,
      timelimit: [null, null],
      root_id: id,
      parent_id: null,
      argsrepr: '[2, 3]',
      kwargsrepr: '{}',
      origin: 'test',
      ignore_result: false,
    },
    properties: { correlation_id: id, reply_to: randomUUID(), delivery_mode: 2, priority: 0 },
    ...changes,
  };
}

/** A message that is recognised by its id when it comes back. */
export function namedMessage(id: string, priority = 0): WireMessage {
  return testMessage({ properties: { correlation_id: id, delivery_mode: 2, priority } });
}

/** The ids of messages or deliveries of {@link namedMessage}. */
export function idsOf(deliveries: readonly { readonly message: WireMessage }[]): string[] {
  return deliveries.map(({ message }) => String(message.properties.correlation_id));
}
