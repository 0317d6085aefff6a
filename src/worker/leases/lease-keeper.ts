import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Logger } from '../../app/logger.ts';
import type { Broker } from '../../contracts/broker.ts';
import type { Delivery, Lease } from '../../contracts/message.ts';
import { LeaseLostError, LovageError } from '../../errors.ts';
import { sibling } from '../../util/sibling.ts';
import { bundle, LeaseBook, type Renewer } from './lease-book.ts';
import type { FromKeeper, KeeperData, LeaseChange, ToKeeper } from './lease-thread.ts';

export interface LeaseKeeperOptions<L extends Lease> {
  /** What renews, and how another thread can make it again. */
  readonly broker: Renewer & Pick<Broker, 'recipe'>;
  /** `undefined` where a delivery is bound to its connection: then there is nothing to renew. */
  readonly leaseMs: number | undefined;
  /** Called with leases that could not be kept. */
  readonly onLost: (lease: L, error: LeaseLostError) => void;
  readonly logger: Logger;
}

/**
 * Renews the lease of every message that this worker holds, started or not. The work is done in a thread of its own with
 * a connection of its own, so that a task which blocks the event loop does not lose its message. A broker that cannot be
 * opened twice (memory) is renewed from here.
 */
export class LeaseKeeper<L extends Lease = Delivery> {
  readonly #options: LeaseKeeperOptions<L>;
  readonly #keys = new Map<L, number>();
  readonly #leases = new Map<number, L>();
  #nextKey = 1;
  #thread: Worker | undefined;
  /** The thread reads these before each renewal. */
  #changes: MessagePort | undefined;
  /** Leases that came or went since the thread was last told to read. */
  #unread = 0;
  #renewing: Int32Array | undefined;
  #book: LeaseBook | undefined;

  constructor(options: LeaseKeeperOptions<L>) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { broker, leaseMs, logger } = this.#options;
    if (leaseMs === undefined) return;
    if (!broker.recipe) {
      this.#book = this.#newBook(broker, leaseMs);
      this.#book.start();
      return;
    }
    const shared = new SharedArrayBuffer(4);
    const renewing = new Int32Array(shared);
    const { port1, port2: changes } = new MessageChannel();
    port1.unref();
    const workerData: KeeperData = { recipe: broker.recipe, leaseMs, shared, changes };
    const thread = new Worker(sibling(import.meta.url, 'lease-thread'), {
      workerData,
      transferList: [changes],
      name: 'lovage-leases',
    });
    const ready = Promise.withResolvers<void>();
    let failure: Error = new LovageError('the thread that renews leases ended by itself');
    thread.on('message', (message: FromKeeper) => {
      if (message.kind === 'ready') ready.resolve();
      else if (message.kind === 'lost') this.#lost(message.keys);
      else logger.warn({}, message.text);
    });
    thread.on('error', (error) => {
      failure = error as Error;
    });
    thread.once('exit', () => {
      ready.reject(failure);
      // Nobody must wait for a renewal that will not end.
      Atomics.store(renewing, 0, 0);
      Atomics.notify(renewing, 0);
      if (this.#thread !== thread) return;
      this.#thread = undefined;
      this.#changes = undefined;
      this.#onDeath(failure);
    });
    await ready.promise;
    this.#renewing = renewing;
    this.#thread = thread;
    this.#changes = port1;
  }

  /** Renewal goes on from here, which is worse only while a task blocks the event loop. */
  #onDeath(error: Error): void {
    const { broker, leaseMs, logger } = this.#options;
    logger.error({ error }, 'the thread that renews leases has died; they are renewed from the main thread now');
    if (leaseMs === undefined) return;
    this.#book = this.#newBook(broker, leaseMs);
    // Who knows when they were renewed last: at once, then.
    for (const [key, lease] of this.#leases) this.#book.add(bundle(key, [lease]), 0);
    this.#book.start();
  }

  #newBook(broker: Renewer, leaseMs: number): LeaseBook {
    const { logger } = this.#options;
    return new LeaseBook(broker, leaseMs, {
      lost: (keys) => this.#lost(keys),
      failed: (text) => logger.warn({}, text),
    });
  }

  addMany(leases: readonly L[]): void {
    const first = this.#nextKey;
    this.#nextKey += leases.length;
    leases.forEach((lease, i) => {
      this.#keys.set(lease, first + i);
      this.#leases.set(first + i, lease);
    });
    if (!this.#book && !this.#thread) return;
    const bundled = bundle(first, leases);
    this.#book?.add(bundled);
    this.#post({ kind: 'add', leases: bundled }, leases.length);
  }

  /**
   * Ends renewal, before a message is settled. If a renewal is under way it is waited for: one that overtook a release
   * would hide the message again.
   */
  async removeMany(leases: readonly L[]): Promise<void> {
    const keys: number[] = [];
    for (const lease of leases) {
      const key = this.#keys.get(lease);
      if (key === undefined) continue;
      keys.push(key);
      this.#keys.delete(lease);
      this.#leases.delete(key);
    }
    if (keys.length === 0) return;
    if (this.#book) return this.#book.remove(keys);
    this.#post({ kind: 'remove', keys }, keys.length);
    // The thread raises the flag before it reads its messages and renews: if it is down now, it will read the one above first.
    while (this.#renewing && Atomics.load(this.#renewing, 0) === 1) await Atomics.waitAsync(this.#renewing, 0, 1).value;
  }

  async stop(): Promise<void> {
    await this.#book?.stop();
    const thread = this.#thread;
    this.#thread = undefined;
    if (!thread) return;
    const exited = new Promise((resolve) => thread.once('exit', resolve));
    thread.postMessage('stop' satisfies ToKeeper);
    await exited;
  }

  /** Nothing waits for the thread to take note: only very many changes are told of, so that they do not pile up. */
  #post(change: LeaseChange, count: number): void {
    this.#changes?.postMessage(change);
    this.#unread += count;
    if (this.#unread < maxUnread) return;
    this.#unread = 0;
    this.#thread?.postMessage('read' satisfies ToKeeper);
  }

  #lost(keys: readonly number[]): void {
    for (const key of keys) {
      const lease = this.#leases.get(key);
      if (!lease) continue;
      this.#options.onLost(
        lease,
        new LeaseLostError('the lease of this message ran out; another worker may have it now'),
      );
    }
  }
}

/** Changes of so many leases may wait to be read. */
const maxUnread = 20_000;
