import { StoreError } from '../errors.ts';
import { backoffMs } from '../util/backoff.ts';
import { sleep } from '../util/sleep.ts';

/** What is stored under a key. */
export interface CasEntry {
  /** `undefined`: nothing, or its time is over. */
  readonly value: string | undefined;
  /** `undefined`: nothing is there. */
  readonly version: string | undefined;
}

/** A store that can write a value on the condition that it is still the one that was seen (compare and set). */
export interface CasStore {
  /** Epoch milliseconds, the store's own as far as they are known. */
  now(): number;
  read(key: string): Promise<CasEntry>;
  /**
   * Writes where the version is the seen one; `undefined`: where nothing is there, or its time is over. Gives the new
   * version, or `undefined` where it was not written.
   */
  write(key: string, value: string, until: number, seen: string | undefined): Promise<string | undefined>;
}

/** What comes of looking at a value. */
export interface CasDecision<T> {
  readonly answer: T;
  /** The value to write; none where nothing changes. */
  readonly value?: string;
  /** Epoch milliseconds when it is over: nobody needs it any more. */
  readonly until?: number;
}

type Remembered = CasEntry & { readonly until: number };

/** What was written by us and may be unchanged. */
const REMEMBERED = 2000;
/** How long a change may be overtaken by those of others. */
const PATIENCE_MS = 15_000;

/**
 * Changes values that many processes share, one atomic step each, by trying until nobody came between. A value that was
 * written here is remembered, so that the next change costs a write and no read; that it is still the same is seen by the
 * write itself.
 */
export class Cas {
  readonly #store: CasStore;
  readonly #remembered = new Map<string, Remembered>();
  /** Who changes a key now: changes of one process queue up instead of overtaking each other. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(store: CasStore) {
    this.#store = store;
  }

  /**
   * Changes the value of a key as `decide` says, which may be asked several times. `probablyNew`: the first try takes the
   * key for free instead of looking.
   */
  change<T>(
    key: string,
    decide: (value: string | undefined, now: number) => CasDecision<T>,
    { probablyNew = false }: { readonly probablyNew?: boolean } = {},
  ): Promise<T> {
    const before = this.#turns.get(key) ?? Promise.resolve();
    const turn = before.then(() => this.#change(key, decide, probablyNew));
    const settled = turn.then(nothing, nothing).then(() => {
      if (this.#turns.get(key) === settled) this.#turns.delete(key);
    });
    this.#turns.set(key, settled);
    return turn;
  }

  async #change<T>(
    key: string,
    decide: (value: string | undefined, now: number) => CasDecision<T>,
    probablyNew: boolean,
  ): Promise<T> {
    const deadline = performance.now() + PATIENCE_MS;
    let guess: CasEntry | undefined =
      this.#recall(key) ?? (probablyNew ? { value: undefined, version: undefined } : undefined);
    for (let attempt = 0; performance.now() < deadline; attempt++) {
      const entry: CasEntry = guess ?? (await this.#store.read(key));
      const { answer, value, until = 0 } = decide(entry.value, this.#store.now());
      if (value === undefined) {
        // What was guessed is good enough for a change, which fails where it is wrong, but not for an answer.
        if (!guess) return answer;
      } else {
        const version = await this.#store.write(key, value, until, entry.version);
        if (version !== undefined) {
          this.#remember(key, { value, version, until });
          return answer;
        }
        if (!guess) await sleep(backoffMs(attempt, { startMs: 5, maxMs: 300 }));
      }
      this.#remembered.delete(key);
      guess = undefined;
    }
    throw new StoreError(
      `'${key}' is changed by others all the time: for ${PATIENCE_MS / 1000} s every write was overtaken`,
    );
  }

  #recall(key: string): CasEntry | undefined {
    const known = this.#remembered.get(key);
    return known && known.until <= this.#store.now() ? { value: undefined, version: known.version } : known;
  }

  #remember(key: string, entry: Remembered): void {
    this.#remembered.delete(key);
    this.#remembered.set(key, entry);
    if (this.#remembered.size <= REMEMBERED) return;
    for (const [oldest] of this.#remembered) {
      this.#remembered.delete(oldest);
      break;
    }
  }
}

function nothing(): void {}
