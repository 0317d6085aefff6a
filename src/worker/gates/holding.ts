import type { Held } from '../outcome.ts';

/** Messages that a worker holds for a moment, because they may begin soon. They take no slots. */
export class Holding {
  readonly #onDue: (held: Held) => void;
  readonly #timers = new Map<Held, NodeJS.Timeout>();
  readonly #counts = new Map<string, number>();

  /** `onDue` gets each when its time has come. */
  constructor(onDue: (held: Held) => void) {
    this.#onDue = onDue;
  }

  /** How many of one task are held. */
  count(task: string): number {
    return this.#counts.get(task) ?? 0;
  }

  add(held: Held, ms: number): void {
    const task = held.message?.task ?? '';
    const onDue = () => {
      this.#remove(held);
      this.#onDue(held);
    };
    this.#counts.set(task, this.count(task) + 1);
    this.#timers.set(held, setTimeout(onDue, ms));
  }

  /** Takes out those that a test picks. */
  drop(picks: (held: Held) => boolean): Held[] {
    const gone = [...this.#timers.keys()].filter(picks);
    for (const held of gone) this.#remove(held);
    return gone;
  }

  #remove(held: Held): void {
    clearTimeout(this.#timers.get(held));
    this.#timers.delete(held);
    const task = held.message?.task ?? '';
    this.#counts.set(task, this.count(task) - 1);
  }
}
