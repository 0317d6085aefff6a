import type { Bus } from '../contracts/bus.ts';
import { pidboxTopic, type Reply, type Request, read, replyTopic, write } from '../wire/pidbox.ts';

/** What remote control may have a worker do. */
export interface Controlled {
  /** Takes note of revoked tasks, and with `terminate` ends those that run. */
  add(taskIds: readonly string[], terminate: boolean): Promise<void>;
}

/** One command: gets what was sent with it, and returns the value that stands under the worker's name in the reply. */
type Command = (args: Readonly<Record<string, unknown>>, worker: Controlled) => Promise<unknown>;

/** What a worker answers to, one row a command. */
const commands: Readonly<Record<string, Command>> = {
  ping: async () => ({ ok: 'pong' }),
  revoke: ({ task_id: ids, terminate }, worker) => revoke(ids, terminate === true, worker),
  terminate: ({ task_id: ids }, worker) => revoke(ids, true, worker),
  revoke_by_stamped_headers: async () => ({
    error: 'revoke_by_stamped_headers is not supported by this worker: revoke tasks by their ids',
  }),
};

/** Has a worker answer remote control on a bus, until the returned function is called. */
export function listenForControl(bus: Bus, hostname: string, worker: Controlled): Promise<() => Promise<void>> {
  return bus.listen(pidboxTopic, (payloads) => {
    for (const payload of payloads) {
      const request = read<Request>(payload);
      if (!request || !isFor(request, hostname)) continue;
      void answer(request, hostname, worker, bus).catch(() => {
        // Whoever asked waits only so long, and asks again; there is nobody here to tell.
      });
    }
  });
}

async function answer(request: Request, hostname: string, worker: Controlled, bus: Bus): Promise<void> {
  const command = Object.hasOwn(commands, String(request.method)) ? commands[request.method] : undefined;
  const value = command ? await command(request.arguments ?? {}, worker) : { error: `KeyError('${request.method}')` };
  if (typeof request.reply_to?.routing_key !== 'string' || typeof request.ticket !== 'string') return;
  const reply: Reply = { ticket: request.ticket, replies: { [hostname]: value } };
  await bus.emitMany(replyTopic(request.reply_to.routing_key), [write(reply)]);
}

/** Celery's words, so that its tools show what they know. */
async function revoke(given: unknown, terminate: boolean, worker: Controlled): Promise<unknown> {
  const ids = (Array.isArray(given) ? given : [given]).filter((id) => typeof id === 'string' && id !== '');
  if (ids.length === 0) return { error: 'revoke: expected task_id to be a task id, or a list of them' };
  await worker.add(ids, terminate);
  const names = ids.join(', ');
  return { ok: terminate ? `terminate: ${names}` : `tasks ${names} flagged as revoked` };
}

function isFor({ destination }: Request, hostname: string): boolean {
  return !Array.isArray(destination) || destination.length === 0 || destination.includes(hostname);
}
