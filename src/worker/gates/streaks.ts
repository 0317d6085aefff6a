/** Nobody asks more often than this for a key that is taken. */
const stepMs = 50;
const maxMs = 10_000;
/** Keys that are remembered. */
const maxKeys = 10_000;

/**
 * How long to wait for a key that others have: longer with each refusal, so that many who wait do not all ask all the
 * time, and drawn at random, so that they do not come together.
 */
export class Streaks {
  readonly #refusals = new Map<string, number>();

  /** Milliseconds until the next try, at most `waitMs`. */
  refused(key: string, waitMs: number): number {
    const count = (this.#refusals.get(key) ?? 0) + 1;
    this.#refusals.delete(key);
    this.#refusals.set(key, count);
    if (this.#refusals.size > maxKeys) this.#forgetOldest();
    return Math.max(1, Math.min(waitMs, maxMs, stepMs * count) * (0.5 + Math.random() / 2));
  }

  granted(key: string): void {
    const count = this.#refusals.get(key);
    if (count === undefined) return;
    if (count <= 1) this.#refusals.delete(key);
    else this.#refusals.set(key, Math.floor(count / 2));
  }

  #forgetOldest(): void {
    for (const key of this.#refusals.keys()) {
      this.#refusals.delete(key);
      return;
    }
  }
}
