import { closeSync, constants, type FSWatcher, mkdirSync, openSync, watch, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Longest time that {@link WakeTopic.wait} sleeps: how late a wake-up comes where notifications are missing. */
export const SAFETY_MS = 500;

const BYTE = Uint8Array.of(1);

/**
 * Tells other processes that something was committed: one byte is written into a small file that they watch.
 *
 * It is a file of its own because SQLite's `-wal` file changes before its index does: whoever is woken by it may look
 * too early and see nothing. Notifications are hints. Some file systems have none and a writer may be killed between
 * its commit and the hint, so waiting ends after {@link SAFETY_MS} at the latest, and the waiter looks again.
 */
export class WakeTopic {
  readonly #file: string;
  readonly #waiters = new Set<() => void>();
  #version = 0;
  #listening = false;
  #watcher: FSWatcher | undefined;
  #descriptor: number | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  #closed = false;

  /** Changes with every wake-up. Read it, look into the store, then wait with it: nothing in between is missed. */
  get version(): number {
    if (!this.#listening) this.#watch();
    return this.#version;
  }

  /** Wakes the waiters of this process and of all others. */
  notify(): void {
    this.wakeLocal();
    if (this.#closed) return;
    try {
      this.#descriptor ??= this.#open();
      // At a position: the file never grows.
      writeSync(this.#descriptor, BYTE, 0, 1, 0);
    } catch {
      // What was committed stays committed: a lost hint must not look like a failed write.
    }
  }

  /** Wakes the waiters of this process. */
  wakeLocal(): void {
    this.#version += 1;
    for (const wake of this.#waiters) wake();
  }

  /** Resolves at the next wake-up after `seen`, when a signal aborts, or after `ms` or {@link SAFETY_MS}. */
  wait(seen: number, ms: number, ...signals: AbortSignal[]): Promise<void> {
    if (seen !== this.#version || ms <= 0 || signals.some((signal) => signal.aborted)) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        for (const signal of signals) signal.removeEventListener('abort', wake);
        resolve();
      };
      // The timer, not the watcher, keeps the process alive, and only while somebody waits.
      const timer = setTimeout(wake, Math.min(ms, SAFETY_MS));
      this.#waiters.add(wake);
      for (const signal of signals) signal.addEventListener('abort', wake, { once: true });
    });
  }

  close(): void {
    this.#closed = true;
    this.wakeLocal();
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#listening = false;
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #open(): number {
    mkdirSync(dirname(this.#file), { recursive: true });
    return openSync(this.#file, constants.O_RDWR | constants.O_CREAT);
  }

  #watch(): void {
    this.#listening = true;
    try {
      this.#descriptor ??= this.#open();
      const watcher = watch(this.#file, { persistent: false }, () => this.wakeLocal());
      watcher.on('error', () => watcher.close());
      this.#watcher = watcher;
    } catch {
      // Out of watches, or a file system that has none: the safety interval does the work.
    }
  }
}
