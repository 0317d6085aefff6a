import type { StatementSync } from 'node:sqlite';
import type { Bus } from '../../contracts/bus.ts';
import { sleep } from '../../util/sleep.ts';
import { callBack, coversTopic } from '../../util/topic.ts';
import type { SqliteStore } from './store.ts';
import { SAFETY_MS } from './wake.ts';

// Long enough for a listener whose event loop was blocked, short enough that the table stays small.
const KEEP_MS = 60_000;
const PAGE = 500;

interface Listener {
  readonly topic: string;
  readonly on: (payloads: Uint8Array[], topic: string) => void;
  /** The last note sent before it listened. */
  readonly after: number;
}

interface Note {
  readonly id: number;
  readonly topic: string;
  readonly payload: Uint8Array;
}

/** Notes to everybody who listens on the same file: a table that is read on from where one listener came, and swept. */
export class SqliteBus implements Bus {
  readonly #store: SqliteStore;
  readonly #insert: StatementSync;
  readonly #sweep: StatementSync;
  readonly #last: StatementSync;
  readonly #next: StatementSync;
  readonly #listeners = new Set<Listener>();
  readonly #closed = new AbortController();
  #following = false;

  constructor(store: SqliteStore) {
    this.#store = store;
    this.#insert = store.prepare('INSERT INTO notes (sent_at, topic, payload) VALUES (?, ?, ?)');
    this.#sweep = store.prepare(
      'DELETE FROM notes WHERE id IN (SELECT id FROM (SELECT id, sent_at FROM notes ORDER BY id LIMIT ?) WHERE sent_at < ?)',
    );
    this.#last = store.prepare("SELECT max(seq) AS id FROM sqlite_sequence WHERE name = 'notes'");
    this.#next = store.prepare('SELECT id, topic, payload FROM notes WHERE id > ? ORDER BY id LIMIT ?');
  }

  async emitMany(topic: string, payloads: readonly Uint8Array[]): Promise<void> {
    if (payloads.length === 0) return;
    const now = Date.now();
    await this.#store.write(() => {
      for (const payload of payloads) this.#insert.run(now, topic, payload);
      this.#sweep.run(2 * payloads.length + 2, now - KEEP_MS);
    });
    this.#store.bus.notify();
  }

  async listen(topic: string, on: (payloads: Uint8Array[], topic: string) => void): Promise<() => Promise<void>> {
    // Before the look at the last note, so that no wake-up after it is missed.
    const seen = this.#store.bus.version;
    const after = await this.#store.read(() => Number(this.#last.get()?.id ?? 0));
    const listener = { topic, on, after };
    this.#listeners.add(listener);
    if (!this.#following) void this.#follow(after, seen);
    return async () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#store.bus.wakeLocal();
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#closed.abort();
  }

  async #follow(after: number, seen: number): Promise<void> {
    this.#following = true;
    let last = after;
    let version = seen;
    while (this.#listeners.size > 0) {
      try {
        const notes = await this.#store.read(() => this.#next.all(last, PAGE) as unknown as Note[]);
        last = notes.at(-1)?.id ?? last;
        this.#deliver(notes);
        if (notes.length === PAGE) continue;
        await this.#store.bus.wait(version, SAFETY_MS, this.#closed.signal);
        version = this.#store.bus.version;
      } catch {
        // A listener has nobody to report to; it looks again, as after any missed wake-up.
        await sleep(SAFETY_MS, this.#closed.signal);
      }
    }
    this.#following = false;
  }

  #deliver(notes: readonly Note[]): void {
    for (let from = 0, to = 0; from < notes.length; from = to) {
      const { topic } = notes[from] as Note;
      while (notes[to]?.topic === topic) to += 1;
      for (const listener of this.#listeners) {
        if (!coversTopic(listener.topic, topic)) continue;
        const payloads = notes.slice(from, to).flatMap((note) => (note.id > listener.after ? [note.payload] : []));
        if (payloads.length > 0) callBack(() => listener.on(payloads, topic));
      }
    }
  }
}
