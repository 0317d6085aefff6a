/** The thread of {@link LeaseKeeper}: opens what renews from its recipe and keeps the book. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Recipe, Service } from '../../contracts/common.ts';
import { fromRecipe } from './from-recipe.ts';
import { LeaseBook, type LeaseBundle, type Renewer } from './lease-book.ts';

/** What the thread is started with. `shared` holds one int: 1 while a renewal is under way. */
export interface KeeperData {
  readonly recipe: Recipe;
  readonly leaseMs: number;
  readonly shared: SharedArrayBuffer;
  /** Where leases come and go. Read before each renewal only: a message does not wake the thread's code. */
  readonly changes: MessagePort;
}

/** What goes through `changes`. */
export type LeaseChange =
  | { readonly kind: 'add'; readonly leases: LeaseBundle }
  | { readonly kind: 'remove'; readonly keys: readonly number[] };

/** `read`: so many changes wait that they are to be read now. */
export type ToKeeper = 'read' | 'stop';

export type FromKeeper =
  | { readonly kind: 'ready' }
  | { readonly kind: 'lost'; readonly keys: readonly number[] }
  | { readonly kind: 'failed'; readonly text: string };

if (parentPort) await keep(parentPort, workerData as KeeperData);

async function keep(
  port: NonNullable<typeof parentPort>,
  { recipe, leaseMs, shared, changes }: KeeperData,
): Promise<void> {
  const renewer = await fromRecipe<Renewer & Service>(recipe);
  await renewer.start();
  const renewing = new Int32Array(shared);
  const tell = (message: FromKeeper) => port.postMessage(message);
  const book = new LeaseBook(renewer, leaseMs, {
    lost: (keys) => tell({ kind: 'lost', keys }),
    failed: (text) => tell({ kind: 'failed', text }),
  });
  const read = () => {
    for (let next = receiveMessageOnPort(changes); next; next = receiveMessageOnPort(changes)) {
      const change: LeaseChange = next.message;
      if (change.kind === 'add') book.add(change.leases);
      else void book.remove(change.keys);
    }
  };
  const stop = async () => {
    await book.stop();
    await renewer.stop();
    changes.close();
    port.close();
  };
  port.on('message', (message: ToKeeper) => {
    if (message === 'read') read();
    else void stop();
  });
  book.start(
    () => {
      // The flag first, then the messages: see LeaseKeeper.removeMany.
      Atomics.store(renewing, 0, 1);
      read();
    },
    () => {
      Atomics.store(renewing, 0, 0);
      Atomics.notify(renewing, 0);
    },
  );
  tell({ kind: 'ready' });
}
