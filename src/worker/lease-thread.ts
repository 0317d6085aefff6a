/** The thread of {@link LeaseKeeper}: opens the broker from its recipe and keeps the book. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Broker } from '../contracts/broker.ts';
import type { Recipe } from '../contracts/common.ts';
import { LeaseBook, type LeaseBundle } from './lease-book.ts';

/** What the thread is started with. `shared` holds one int: 1 while a renewal is under way. */
export interface KeeperData {
  readonly recipe: Recipe;
  readonly leaseMs: number;
  readonly shared: SharedArrayBuffer;
}

export type ToKeeper =
  | { readonly kind: 'add'; readonly leases: LeaseBundle }
  | { readonly kind: 'remove'; readonly keys: readonly number[] }
  | { readonly kind: 'stop' };

export type FromKeeper =
  | { readonly kind: 'ready' }
  | { readonly kind: 'lost'; readonly keys: readonly number[] }
  | { readonly kind: 'failed'; readonly text: string };

if (parentPort) await keep(parentPort, workerData as KeeperData);

async function keep(port: NonNullable<typeof parentPort>, { recipe, leaseMs, shared }: KeeperData): Promise<void> {
  const module: Record<string, (...args: readonly unknown[]) => Broker> = await import(recipe.module);
  const broker = module[recipe.factory]?.(...recipe.args);
  if (!broker) throw new Error(`${recipe.module} has no export '${recipe.factory}'`);
  await broker.start();
  const renewing = new Int32Array(shared);
  const tell = (message: FromKeeper) => port.postMessage(message);
  const book = new LeaseBook(broker, leaseMs, {
    lost: (keys) => tell({ kind: 'lost', keys }),
    failed: (text) => tell({ kind: 'failed', text }),
  });
  const take = (message: ToKeeper) => {
    if (message.kind === 'add') book.add(message.leases);
    else if (message.kind === 'remove') void book.remove(message.keys);
    else void stop();
  };
  const stop = async () => {
    await book.stop();
    await broker.stop();
    port.close();
  };
  port.on('message', take);
  book.start(
    () => {
      // The flag first, then the messages: see LeaseKeeper.removeMany.
      Atomics.store(renewing, 0, 1);
      for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) take(next.message);
    },
    () => {
      Atomics.store(renewing, 0, 0);
      Atomics.notify(renewing, 0);
    },
  );
  tell({ kind: 'ready' });
}
