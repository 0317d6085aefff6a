import type { Redis } from './client.ts';
import type { RedisMessages } from './messages.ts';
import type { RedisStore } from './store.ts';

/** How long a message of a Python producer may go unnoticed in a list that is not watched. */
const SAFETY_MS = 2000;
const WATCH_SECONDS = 20;

/**
 * Wakes one consumer when there may be something to receive. Three things do: one list that is watched, the likeliest,
 * by a blocking command that leaves it as it was (so that work from Python is noticed at once); a hint from whoever put
 * something into another empty list (Lovage's processes send them); and a cheap look at all lists now and then.
 */
export class RedisWake {
  readonly #store: RedisStore;
  readonly #messages: RedisMessages;
  readonly #channels = new Map<string, () => Promise<void>>();
  readonly #waiting = new Set<() => void>();
  #version = 0;
  #blocking: Redis | undefined;
  /** The list that is being watched, or was until it had something. */
  #watched: string | undefined;
  #watching = false;
  /** A hint was passed over because that list will be watched again. */
  #owed = false;
  #closed = false;

  constructor(store: RedisStore, messages: RedisMessages) {
    this.#store = store;
    this.#messages = messages;
  }

  /** Grows with every reason to look again. */
  get version(): number {
    return this.#version;
  }

  /** Listens to hints for these queues, and no longer to those for others. */
  async follow(queues: readonly string[]): Promise<void> {
    const wanted = new Set([...queues, ''].map((queue) => this.#messages.layout.wakeChannel(queue)));
    for (const [channel, stop] of this.#channels) {
      if (wanted.has(channel)) continue;
      this.#channels.delete(channel);
      await stop();
    }
    for (const channel of wanted) {
      if (this.#channels.has(channel)) continue;
      this.#channels.set(channel, await this.#store.channels.subscribe(channel, (list) => this.#hint(String(list))));
    }
    if (this.#closed) await this.#unfollow();
  }

  /**
   * Watches one list, unless one is watched already: that goes on for some seconds, and then another gets its turn. Call
   * it after each receive that took all there was.
   */
  watch(list: string): void {
    if (this.#watching || this.#closed) return;
    const client = this.#connected();
    if (client.status !== 'ready') return;
    if (this.#owed && list !== this.#watched) this.wake();
    this.#owed = false;
    this.#watched = list;
    this.#watching = true;
    void this.#block(client, this.#messages.layout.prefix + list);
  }

  /** Waits at the server until a list has something. */
  async #block(client: Redis, key: string): Promise<void> {
    // The server ends it in time, unless it is gone and the connection does not know it.
    const limitMs = WATCH_SECONDS * 1000 + this.#store.location.commandTimeoutMs;
    const guard = setTimeout(() => client.disconnect(true), limitMs);
    try {
      const found = await client.call('BLMOVE', key, key, 'RIGHT', 'RIGHT', WATCH_SECONDS);
      this.#watching = false;
      if (found !== null) this.wake();
      else if (this.#waiting.size > 0) this.watch(key.slice(this.#messages.layout.prefix.length));
    } catch {
      this.#watching = false;
      this.#watched = undefined;
    } finally {
      clearTimeout(guard);
    }
  }

  wake(): void {
    this.#version += 1;
    for (const resolve of [...this.#waiting]) resolve();
  }

  /** Waits until there is a reason to look that came after version `seen`, or `ms` have passed, or a signal aborts. */
  async wait(
    seen: number,
    ms: number,
    likeliest: string,
    queues: readonly string[],
    ...signals: AbortSignal[]
  ): Promise<void> {
    const end = performance.now() + ms;
    for (;;) {
      if (this.#version !== seen || signals.some(({ aborted }) => aborted)) return;
      const left = end - performance.now();
      if (left <= 0) return;
      this.watch(likeliest);
      const wholeTime = await this.#pause(Math.min(left, SAFETY_MS), signals);
      if (wholeTime && left > SAFETY_MS && (await this.#messages.hasSome(queues))) this.wake();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#blocking?.disconnect();
    this.#blocking = undefined;
    await this.#unfollow();
    this.wake();
  }

  /** The watched list needs no hint: the server tells of it by itself, at once where it has something already. */
  #hint(list: string): void {
    if (list === '' || list !== this.#watched) this.wake();
    else if (!this.#watching) this.#owed = true;
  }

  async #unfollow(): Promise<void> {
    const stops = [...this.#channels.values()];
    this.#channels.clear();
    for (const stop of stops) await stop();
  }

  /** True when the time passed, false when something happened. */
  #pause(ms: number, signals: readonly AbortSignal[]): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (wholeTime: boolean) => {
        clearTimeout(timer);
        this.#waiting.delete(onWake);
        for (const signal of signals) signal.removeEventListener('abort', onWake);
        resolve(wholeTime);
      };
      const onWake = () => done(false);
      const timer = setTimeout(() => done(true), Math.max(0, ms));
      this.#waiting.add(onWake);
      for (const signal of signals) signal.addEventListener('abort', onWake, { once: true });
    });
  }

  /** The connection for watching. Until it is there nothing is watched: then it is time to look, and to watch from there on. */
  #connected(): Redis {
    if (!this.#blocking) {
      this.#blocking = this.#store.openClient('waiting');
      this.#blocking.on('ready', () => this.wake());
    }
    return this.#blocking;
  }
}
