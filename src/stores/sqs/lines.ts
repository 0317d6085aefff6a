import { Line } from './line.ts';
import type { SqsQueues } from './queues.ts';

/** The queues of a consumer, each with its priorities, in the order in which they are asked. */
export class Lines {
  readonly #queues: SqsQueues;
  #all: readonly Line[];

  constructor(queues: SqsQueues, names: readonly string[]) {
    this.#queues = queues;
    this.#all = this.#linesOf(names);
  }

  get all(): readonly Line[] {
    return this.#all;
  }

  /** Messages that will probably come of requests under way. */
  get expected(): number {
    return this.#all.reduce((sum, { expected }) => sum + expected, 0);
  }

  /** The same, of queues that are full. */
  get expectedSoon(): number {
    return this.#all.reduce((sum, { expectedSoon }) => sum + expectedSoon, 0);
  }

  /** Takes other queues. Returns the lines that are ours no more. */
  change(names: readonly string[]): Line[] {
    const before = new Map(this.#all.map((line) => [line.at, line]));
    this.#all = this.#linesOf(names).map((line) => {
      const same = before.get(line.at);
      before.delete(line.at);
      return same ?? line;
    });
    return [...before.values()];
  }

  /** The first queue goes to the back, so that each comes first in its turn; its priorities stay together. */
  rotate(): void {
    const first = this.#all[0]?.name;
    const isFirst = ({ name }: Line) => name === first;
    this.#all = [...this.#all.filter((line) => !isFirst(line)), ...this.#all.filter(isFirst)];
  }

  /** More urgent messages come first: as long as there may be some, nothing else of the queue is asked for. */
  mayAsk({ name, step }: Line): boolean {
    return !this.#all.some((other) => other.name === name && other.step < step && !other.isKnownEmpty);
  }

  /** While one priority has messages, the others are looked at, and not waited for. */
  mayWait({ name, at }: Line): boolean {
    return !this.#all.some((other) => other.name === name && other.at !== at && !other.isKnownEmpty);
  }

  /** What is wrong with the queues, where it is to be told: at once where it is wrong with all of them, else now and then. */
  takeError(): Error | undefined {
    const failing = this.#all.filter(({ error }) => error !== undefined);
    const isAll = failing.length === this.#all.length;
    const telling = failing.find((line) => line.tells()) ?? (isAll ? failing[0] : undefined);
    const error = telling?.error;
    // Told: what the next request finds counts.
    for (const line of failing) if (isAll || line === telling) line.error = undefined;
    return error;
  }

  #linesOf(names: readonly string[]): Line[] {
    return [...new Set(names)].flatMap((name) =>
      this.#queues.steps(name).map(({ at, step }) => new Line(name, at, step)),
    );
  }
}
