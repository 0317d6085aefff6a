interface Kept<T> {
  readonly value: T;
  /** Epoch milliseconds; `Infinity`: for ever. */
  readonly expiresAt: number;
}

const SWEPT = 20;

/** Values that are invisible once expired, and go away in small steps while others come. */
export class Expiring<T> {
  readonly #kept = new Map<string, Kept<T>>();
  #sweeping = this.#kept.entries();

  /** How many are kept, expired ones that were not swept yet included. */
  get size(): number {
    return this.#kept.size;
  }

  get(key: string): T | undefined {
    const kept = this.#kept.get(key);
    return kept && kept.expiresAt > Date.now() ? kept.value : undefined;
  }

  expiresAt(key: string): number {
    return this.#kept.get(key)?.expiresAt ?? Number.POSITIVE_INFINITY;
  }

  set(key: string, value: T, expiresAt: number): void {
    this.#kept.set(key, { value, expiresAt });
    this.#sweep();
  }

  delete(key: string): void {
    this.#kept.delete(key);
  }

  #sweep(): void {
    const now = Date.now();
    for (let i = 0; i < SWEPT; i++) {
      const next = this.#sweeping.next();
      if (next.done) {
        this.#sweeping = this.#kept.entries();
        return;
      }
      const [key, kept] = next.value;
      if (kept.expiresAt <= now) this.#kept.delete(key);
    }
  }
}
