import type { Bus } from '../../contracts/bus.ts';
import { callBack, coversTopic } from '../../util/topic.ts';

interface Listener {
  readonly topic: string;
  readonly on: (payloads: Uint8Array[], topic: string) => void;
}

/** Notes to everybody who listens in this process under the same store name. */
export class MemoryBus implements Bus {
  readonly #listeners = new Set<Listener>();

  async emitMany(topic: string, payloads: readonly Uint8Array[]): Promise<void> {
    if (payloads.length === 0) return;
    // Copies: what the sender does with its bytes afterwards is its own affair.
    const copies = payloads.map((payload) => new Uint8Array(payload));
    const present = [...this.#listeners].filter((listener) => coversTopic(listener.topic, topic));
    // Never inside the sender's own call, as with any other bus.
    queueMicrotask(() => {
      for (const listener of present)
        if (this.#listeners.has(listener)) callBack(() => listener.on([...copies], topic));
    });
  }

  async listen(topic: string, on: (payloads: Uint8Array[], topic: string) => void): Promise<() => Promise<void>> {
    const listener = { topic, on };
    this.#listeners.add(listener);
    return async () => {
      this.#listeners.delete(listener);
    };
  }
}
