import { StoreError } from '../../errors.ts';
import { backoffMs } from '../../util/backoff.ts';
import { sleep } from '../../util/sleep.ts';
import { isPermanent, redisError } from './errors.ts';
import type { RedisLocation } from './url.ts';

// Not as an import: the types, too, are there only where the package is installed.
/** A connection. */
export type Redis = import('ioredis').Redis;
/** What a connection is made with. */
export type ClientOptions = import('ioredis').RedisOptions;

/** How every connection is made. `role` is for people who look at CLIENT LIST. */
export function clientOptions({ address, connectTimeoutMs, clientName }: RedisLocation, role: string): ClientOptions {
  const { sentinels, masterName, tls, ...rest } = address;
  const options: ClientOptions = {
    ...rest,
    lazyConnect: true,
    connectTimeout: connectTimeoutMs,
    connectionName: `${clientName}:${role}`,
    disableClientInfo: true,
    // The same forms of replies from every version of ioredis.
    protocol: 2,
    // Nothing is kept for later or sent twice behind our back.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // It would do so where nobody hears of a failure; see `afterReconnect`.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    // A failover: the name, or the sentinels, may lead to the new master.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
    // Shorter than a call waits for a connection, so that whoever calls after the server is back is served.
    retryStrategy: (times) => Math.min(500, 50 * 2 ** Math.min(times, 10)) * (0.75 + Math.random() / 4),
  };
  if (sentinels && masterName !== undefined) Object.assign(options, { sentinels: [...sentinels], name: masterName });
  if (tls) {
    const { checkHostname, ...secure } = tls;
    options.tls = checkHostname ? secure : { ...secure, checkServerIdentity: () => undefined };
  }
  return options;
}

/**
 * Connects for the first time. Waits for a server that is not there yet, up to `connectTimeoutMs`; gives up at once
 * where waiting is no use, as with a wrong password.
 */
export function firstReady(client: Redis, location: RedisLocation): Promise<void> {
  client.connect().catch(() => {});
  return ready(client, location, location.connectTimeoutMs, true);
}

/** Resolves when a connection is there (again), and fails where that takes longer than `ms`. */
export function whenReady(client: Redis, location: RedisLocation, ms: number): Promise<void> {
  return ready(client, location, ms, false);
}

/**
 * Asks every `ms` whether the server is still there, and connects anew where it does not answer. Who only listens would
 * never hear of a connection that was lost without a word.
 */
export function keepChecking(client: Redis, ms: number): void {
  const timer = setInterval(() => {
    if (client.status === 'ready') client.ping().catch(() => client.disconnect(true));
  }, ms).unref();
  client.once('end', () => clearInterval(timer));
}

/**
 * Has something done on each connection of a client but the first, such as subscribing again; and once more, after a pause,
 * while it fails though the connection is there.
 */
export function afterReconnect(client: Redis, act: () => Promise<unknown>): void {
  const ended = new AbortController();
  client.once('end', () => ended.abort());
  const again = async () => {
    // When the connection breaks meanwhile, the next one brings the next call.
    for (let attempt = 0; client.status === 'ready'; attempt += 1) {
      try {
        await act();
        return;
      } catch {
        await sleep(backoffMs(attempt, { startMs: 50, maxMs: 1000 }), ended.signal);
      }
    }
  };
  client.once('ready', () => client.on('ready', () => void again()));
}

const OTHER_SIDE = 'Is it redis:// on one side and rediss:// on the other?';

function ready(client: Redis, { url }: RedisLocation, ms: number, isFirst: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let last: Error | undefined;
    const done = (error?: Error) => {
      clearTimeout(timer);
      client.off('ready', onReady).off('error', onError).off('end', onEnd);
      if (error) reject(error);
      else resolve();
    };
    const onReady = () => done();
    const onError = (error: Error) => {
      last = redisError(error, url);
      if (isFirst && isPermanent(last)) done(last);
    };
    const onEnd = () => done(last ?? new StoreError(`the connection to ${url} was closed`));
    const timer = setTimeout(() => {
      done(new StoreError(`no connection to ${url} within ${ms / 1000} s: ${reason(last, isFirst)}`, { cause: last }));
    }, ms);
    client.on('ready', onReady).on('error', onError).on('end', onEnd);
    if (client.status === 'end') onEnd();
  });
}

/** Why there is no connection, as far as it is known. */
function reason(last: Error | undefined, isFirst: boolean): string {
  if (!last) return isFirst ? `nothing answers there as a Redis would. ${OTHER_SIDE}` : 'nothing answers there';
  const text = last.cause instanceof Error ? last.cause.message : last.message;
  // A server of TLS hangs up on whoever does not speak it; so does one that is being shut down.
  return isFirst && text.includes('ECONNRESET') ? `${text}. ${OTHER_SIDE}` : text;
}
