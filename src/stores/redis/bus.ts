import type { Bus } from '../../contracts/bus.ts';
import type { RedisLayout } from './layout.ts';
import type { RedisCommand, RedisStore } from './store.ts';

/** Notes over Redis' publish and subscribe, on the channels of kombu's fanout exchanges. */
export class RedisBus implements Bus {
  readonly #store: RedisStore;
  readonly #layout: RedisLayout;

  constructor(store: RedisStore, layout: RedisLayout) {
    this.#store = store;
    this.#layout = layout;
  }

  async emitMany(topic: string, payloads: readonly Uint8Array[]): Promise<void> {
    if (payloads.length === 0) return;
    const channel = this.#layout.fanout + topic;
    const commands = payloads.map(
      (payload): RedisCommand => [
        'PUBLISH',
        channel,
        Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      ],
    );
    for (const reply of await this.#store.pipeline(commands)) if (reply instanceof Error) throw reply;
  }

  listen(topic: string, on: (payloads: Uint8Array[], topic: string) => void): Promise<() => Promise<void>> {
    const { fanout } = this.#layout;
    const { channels } = this.#store;
    const hear = (payload: Buffer, channel: string) => on([payload], channel.slice(fanout.length));
    if (!topic.endsWith('*')) return channels.subscribe(fanout + topic, hear);
    return channels.psubscribe(`${escapeGlob(fanout + topic.slice(0, -1))}*`, hear);
  }
}

function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\]/g, '\\$&');
}
