import type { Logger } from '../../app/logger.ts';
import { callBack } from '../../util/topic.ts';
import { advance, newLife, type WorkerEvent, type WorkerState } from './worker-state.ts';

/** Keeps the state of one worker: takes note of what happens to it, tells people, and calls those who listen. */
export class StateKeeper {
  readonly #logger: () => Logger;
  readonly #onStop: () => void;
  readonly #listeners = new Set<(state: WorkerState) => void>();
  #life: ReturnType<typeof newLife>;

  /** `onStop` is called when the worker is to end by itself. `maxRetries`: see {@link newLife}. */
  constructor(maxRetries: number, logger: () => Logger, onStop: () => void) {
    this.#life = newLife(maxRetries);
    this.#logger = logger;
    this.#onStop = onStop;
  }

  get state(): WorkerState {
    return this.#life.state;
  }

  /** Why the worker cannot go on, from the moment that this is known. */
  get failure(): Error | undefined {
    return this.#life.failure;
  }

  /** Calls `listener` at each change of the state, until the returned function is called. */
  listen(listener: (state: WorkerState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes note of an event, and does what follows from it. */
  happen(event: WorkerEvent): void {
    const before = this.state;
    const [life, ...effects] = advance(this.#life, event, performance.now());
    this.#life = life;
    for (const effect of effects) {
      if (effect.kind === 'tell') this.#logger()[effect.level](effect.fields, effect.message);
      else this.#onStop();
    }
    if (life.state !== before) for (const listener of [...this.#listeners]) callBack(() => listener(life.state));
  }
}
