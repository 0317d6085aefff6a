import { createHash } from 'node:crypto';
import { ConfigError, StoreReadOnlyError } from '../../errors.ts';
import { loadPeer } from '../../util/load-peer.ts';
import { RedisChannels } from './channels.ts';
import { type ClientOptions, clientOptions, firstReady, keepChecking, type Redis, whenReady } from './client.ts';
import { redisError } from './errors.ts';
import type { RedisLocation } from './url.ts';

/** One command: its name and arguments. */
export type RedisCommand = readonly [name: string, ...args: (string | number | Buffer)[]];

/**
 * What one process opens to one URL, whatever it does there: one connection for commands, one for listening (once
 * somebody listens), and one for waiting for each consumer. The lease keeper's thread has one for commands of its own.
 */
export const CONNECTIONS = { command: 1, subscriber: 1, blockingPerConsumer: 1, leaseThread: 1 } as const;

/** A command waits so long for a connection that was just lost before it fails. */
const REJOIN_MS = 1000;

/** A Lua script, known to the server by its hash. */
export class RedisScript {
  readonly text: string;
  readonly sha: string;

  constructor(text: string) {
    this.text = text;
    this.sha = createHash('sha1').update(text).digest('hex');
  }
}

/**
 * The connections of this process to one Redis. Commands are sent once: what was under way when a connection was lost
 * fails, since nobody knows whether it was done. Connections come back by themselves.
 */
export class RedisStore {
  readonly location: RedisLocation;
  /** What this process listens to. */
  readonly channels: RedisChannels;
  readonly #client: Redis;
  readonly #newClient: (role: string, options?: ClientOptions) => Redis;
  #connects = 0;

  /** @internal Use {@link openRedis}. */
  constructor(location: RedisLocation, newClient: (role: string, options?: ClientOptions) => Redis) {
    this.location = location;
    this.#newClient = newClient;
    this.#client = newClient('commands', { commandTimeout: location.commandTimeoutMs });
    this.#client.on('ready', () => {
      this.#connects += 1;
    });
    this.channels = new RedisChannels(() => this.openListener('listening'), location);
  }

  /** Grows with each new connection: what the server was told before may be gone. */
  get connects(): number {
    return this.#connects;
  }

  /** Sends one command; texts come back as strings. */
  async command(...[name, ...args]: RedisCommand): Promise<unknown> {
    return this.#attempt((client) => client.call(name, args));
  }

  /** Sends one command; texts come back as bytes. */
  async commandBuffer(...[name, ...args]: RedisCommand): Promise<unknown> {
    return this.#attempt((client) => client.callBuffer(name, args));
  }

  /** Sends commands in one go. Each has its reply or its error; rejects where nothing could be sent. */
  async pipeline(commands: readonly RedisCommand[], { buffers = false } = {}): Promise<unknown[]> {
    const replies = await this.#attempt((client) => {
      const pipeline = client.pipeline();
      for (const [name, ...args] of commands) {
        if (buffers) pipeline.callBuffer(name, args);
        else pipeline.call(name, args);
      }
      return pipeline.exec();
    });
    return (replies ?? []).map(([error, reply]) => (error ? this.#failure(error) : reply));
  }

  /** Runs a script, in one atomic step. It gets `args` as ARGV. */
  async script(script: RedisScript, args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#attempt(async (client) => {
      try {
        return await client.evalsha(script.sha, 0, ...args);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return client.eval(script.text, 0, ...args);
      }
    });
  }

  /** One more connection, for what would hold up the others. It has no timeouts; the caller disconnects it. */
  openClient(role: string): Redis {
    const client = this.#newClient(role);
    client.connect().catch(() => {});
    return client;
  }

  /** One more connection, for listening: it finds out by itself when nobody is there any more. The caller disconnects it. */
  openListener(role: string): Redis {
    const { commandTimeoutMs } = this.location;
    const client = this.#newClient(role, { commandTimeout: commandTimeoutMs });
    keepChecking(client, 3 * commandTimeoutMs);
    client.connect().catch(() => {});
    return client;
  }

  /** @internal */
  async open(): Promise<void> {
    await firstReady(this.#client, this.location);
    await this.#examine();
  }

  /** @internal */
  close(): void {
    this.channels.close();
    this.#client.disconnect();
  }

  async #attempt<T>(send: (client: Redis) => Promise<T>): Promise<T> {
    if (this.#client.status !== 'ready') await whenReady(this.#client, this.location, REJOIN_MS);
    try {
      return await send(this.#client);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): Error {
    // A server that does not answer may be a connection that died in silence: a new one finds out.
    if (error instanceof Error && error.message === 'Command timed out') this.#client.disconnect(true);
    return redisError(error, this.location.url);
  }

  /** Finds out now, not at the first message, what this server cannot do. */
  async #examine(): Promise<void> {
    const { url, keyPrefix } = this.location;
    const info = String(await this.command('INFO').catch(() => ''));
    const [, version = '7', major = '7', minor = '0'] = /^redis_version:((\d+)\.(\d+).*)\r?$/m.exec(info) ?? [];
    if (Number(major) * 100 + Number(minor) < 602) {
      throw new ConfigError(`${url} is a Redis ${version.trim()}; Lovage needs 6.2 or newer (or Valkey)`);
    }
    if (/^cluster_enabled:1/m.test(info)) throw redisError(new Error('CLUSTERDOWN cluster mode is on'), url);
    // Removes nothing, and is refused where writes are.
    await this.command('SREM', `${keyPrefix}lovage:queues`, '').catch((error: Error) => {
      const reply = String(error.cause);
      if (reply.includes('READONLY')) throw readOnly(url, error.cause);
      if (!/NOPERM|WRONGTYPE/.test(reply)) throw error;
    });
  }
}

/** At the start it is a wrong address; later on it is a failover, which passes. */
function readOnly(url: string, cause: unknown): StoreReadOnlyError {
  return new StoreReadOnlyError(`${url} is a read-only replica: connect to its master, or through sentinel://`, {
    cause,
  });
}

interface Shared {
  readonly store: Promise<RedisStore>;
  users: number;
}

const stores = new Map<string, Shared>();

/** A store in use. Call `release` when done; the last one out closes the connections. */
export interface RedisHandle {
  readonly store: RedisStore;
  release(): Promise<void>;
}

/**
 * Connects to a Redis. Everything in this process that uses the same URL with the same options shares the connections:
 * the broker and the result backend of one URL are one.
 * @throws ConfigError, StoreReadOnlyError, StoreError, MissingPackageError
 */
export async function openRedis(location: RedisLocation): Promise<RedisHandle> {
  const key = JSON.stringify([location.address, location.options]);
  const shared = stores.get(key) ?? { store: openStore(location), users: 0 };
  stores.set(key, shared);
  shared.users += 1;
  let released = false;
  const release = async () => {
    if (released) return;
    released = true;
    shared.users -= 1;
    if (shared.users > 0) return;
    if (stores.get(key) === shared) stores.delete(key);
    await shared.store.then(
      (store) => store.close(),
      () => {},
    );
  };
  try {
    return { store: await shared.store, release };
  } catch (error) {
    await release();
    throw error;
  }
}

async function openStore(location: RedisLocation): Promise<RedisStore> {
  const { Redis } = await loadPeer('ioredis', 'redis:// URLs', () => import('ioredis'));
  const store = new RedisStore(location, (role, options) => {
    const client = new Redis({ ...clientOptions(location, role), ...options, replyMapping: 'legacy' });
    // Errors reach those who wait for an answer; without a listener ioredis would print them, too.
    client.on('error', () => {});
    return client;
  });
  try {
    await store.open();
    return store;
  } catch (error) {
    store.close();
    throw error;
  }
}
