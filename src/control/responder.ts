import type { Bus } from '../contracts/bus.ts';
import { pidboxTopic, type Reply, type Request, read, replyTopic, write } from './pidbox.ts';

/** What a worker answers to. One row a command; each returns the value that stands under the worker's name in the reply. */
const commands: Readonly<Record<string, () => unknown>> = {
  ping: () => ({ ok: 'pong' }),
};

/** Has a worker answer remote control on a bus, until the returned function is called. */
export function listenForControl(bus: Bus, hostname: string): Promise<() => Promise<void>> {
  return bus.listen(pidboxTopic, (payloads) => {
    for (const payload of payloads) {
      const request = read<Request>(payload);
      if (!request || !isFor(request, hostname)) continue;
      const command = Object.hasOwn(commands, String(request.method)) ? commands[request.method] : undefined;
      const value = command ? command() : { error: `KeyError('${request.method}')` };
      if (typeof request.reply_to?.routing_key !== 'string' || typeof request.ticket !== 'string') continue;
      const reply: Reply = { ticket: request.ticket, replies: { [hostname]: value } };
      void bus.emitMany(replyTopic(request.reply_to.routing_key), [write(reply)]).catch(() => {
        // Whoever asked waits only so long, and asks again; there is nobody here to tell.
      });
    }
  });
}

function isFor({ destination }: Request, hostname: string): boolean {
  return !Array.isArray(destination) || destination.length === 0 || destination.includes(hostname);
}
