import { callBack } from '../../util/topic.ts';
import { afterReconnect, type Redis, whenReady } from './client.ts';
import { redisError } from './errors.ts';
import type { RedisLocation } from './url.ts';

type OnNote = (payload: Buffer, channel: string) => void;

interface Channel {
  readonly listeners: Set<OnNote>;
  readonly subscribed: Promise<unknown>;
}

/**
 * What one process listens to on a Redis, over one connection that is opened when it is first needed and closed with
 * the last listener. Each channel is subscribed to once, however many listen. Subscriptions return with the connection.
 */
export class RedisChannels {
  readonly #open: () => Redis;
  readonly #location: RedisLocation;
  readonly #exact = new Map<string, Channel>();
  readonly #patterns = new Map<string, Channel>();
  #client: Redis | undefined;

  constructor(open: () => Redis, location: RedisLocation) {
    this.#open = open;
    this.#location = location;
  }

  /** Listens to one channel. Resolves once listening has begun; call what it returns to stop. */
  subscribe(channel: string, on: OnNote): Promise<() => Promise<void>> {
    return this.#listen(this.#exact, channel, on, 'subscribe', 'unsubscribe');
  }

  /** Listens to all channels that a glob pattern of Redis matches. */
  psubscribe(pattern: string, on: OnNote): Promise<() => Promise<void>> {
    return this.#listen(this.#patterns, pattern, on, 'psubscribe', 'punsubscribe');
  }

  close(): void {
    this.#exact.clear();
    this.#patterns.clear();
    this.#client?.disconnect();
    this.#client = undefined;
  }

  async #listen(
    channels: Map<string, Channel>,
    name: string,
    on: OnNote,
    begin: 'subscribe' | 'psubscribe',
    end: 'unsubscribe' | 'punsubscribe',
  ): Promise<() => Promise<void>> {
    const channel = channels.get(name) ?? {
      listeners: new Set(),
      subscribed: this.#connected().then((client) => client[begin](name)),
    };
    channels.set(name, channel);
    channel.listeners.add(on);
    const stop = async () => {
      channel.listeners.delete(on);
      if (channel.listeners.size > 0 || channels.get(name) !== channel) return;
      channels.delete(name);
      // What fails here is a connection that is gone, and the subscription with it.
      await this.#client?.[end](name).catch(() => {});
    };
    try {
      await channel.subscribed;
    } catch (error) {
      await stop();
      throw redisError(error, this.#location.url);
    }
    return stop;
  }

  async #connected(): Promise<Redis> {
    this.#client ??= this.#connect();
    const client = this.#client;
    if (client.status !== 'ready') await whenReady(client, this.#location, this.#location.connectTimeoutMs);
    return client;
  }

  #connect(): Redis {
    const client = this.#open();
    client.on('messageBuffer', (channel: Buffer, payload: Buffer) => {
      tell(this.#exact.get(channel.toString()), payload, channel.toString());
    });
    client.on('pmessageBuffer', (pattern: Buffer | string, channel: Buffer, payload: Buffer) => {
      tell(this.#patterns.get(pattern.toString()), payload, channel.toString());
    });
    afterReconnect(client, () => this.#subscribeAgain(client));
    return client;
  }

  async #subscribeAgain(client: Redis): Promise<void> {
    if (this.#exact.size > 0) await client.subscribe(...this.#exact.keys());
    if (this.#patterns.size > 0) await client.psubscribe(...this.#patterns.keys());
  }
}

function tell(channel: Channel | undefined, payload: Buffer, name: string): void {
  if (!channel) return;
  for (const on of [...channel.listeners]) callBack(() => on(payload, name));
}
