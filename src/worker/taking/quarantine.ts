import type { LovageApp } from '../../app/app.ts';
import { deliveryLimit } from '../../app/tasks/task.ts';
import type { Held } from '../outcome.ts';

/** A message of this many deliveries may be the one that kills its workers. */
const suspectAttempt = 3;
/** How long a suspect runs with nothing else beside it. */
const quarantineMs = 5_000;

/**
 * Keeps a suspect apart. A message that kills its worker takes along whatever runs beside it, and the same ones each time
 * they are delivered again. So it begins with nothing new beside it: either it shows what it is, or it was a bystander and
 * ends.
 */
export class Quarantine {
  readonly #app: LovageApp;
  readonly #onEnd: () => void;
  #suspect: Held | undefined;

  /** `onEnd` is called when others may begin again. */
  constructor(app: LovageApp, onEnd: () => void) {
    this.#app = app;
    this.#onEnd = onEnd;
  }

  /** Nothing new may begin now. */
  get isOn(): boolean {
    return this.#suspect !== undefined;
  }

  /** Which of those that have come may begin, and which must go back first. */
  split(runs: readonly Held[]): { readonly alone: readonly Held[]; readonly others: readonly Held[] } {
    // What was fetched while the suspect was being read.
    if (this.#suspect) return { alone: [], others: runs };
    const suspect = runs.find((held) => this.#isSuspect(held));
    if (!suspect) return { alone: runs, others: [] };
    this.#suspect = suspect;
    setTimeout(() => this.end(suspect), quarantineMs).unref();
    return { alone: [suspect], others: runs.filter((held) => held !== suspect) };
  }

  /** A message has ended, or will not begin: if it was the suspect, it is none any more. */
  end(held: Held): void {
    if (held !== this.#suspect) return;
    this.#suspect = undefined;
    this.#onEnd();
  }

  #isSuspect({ delivery, definition }: Held): boolean {
    const limit = deliveryLimit(definition, this.#app.config, delivery);
    // Where retries are deliveries, many of them are no sign of a crash.
    return delivery.attempt > 1 && delivery.attempt >= (delivery.ordered ? limit : Math.min(suspectAttempt, limit));
  }
}
