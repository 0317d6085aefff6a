import { ConfigError, LovageError, StoreCorruptError, StoreError } from '../../errors.ts';

/** Says in Lovage's words what Redis, ioredis or the network raised. Errors of ours come back as they are. */
export function redisError(error: unknown, url: string): Error {
  if (error instanceof LovageError) return error;
  if (!(error instanceof Error)) return new StoreError(`${url}: ${String(error)}`);
  // The command that failed may hold a password, or megabytes.
  Reflect.deleteProperty(error, 'command');
  const make = byReply[/^[A-Z]+/.exec(error.message)?.[0] ?? ''] ?? byCode(error);
  return make(url, error);
}

/** Whether the same start cannot succeed later, so that waiting for the server makes no sense. */
export function isPermanent(error: Error): boolean {
  return error instanceof LovageError && !error.retryable;
}

/** Whether Redis refused it because maxmemory is reached. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof LovageError && error.cause instanceof Error && error.cause.message.startsWith('OOM');
}

type Maker = (url: string, cause: Error) => LovageError;

const login: Maker = (url, cause) =>
  new ConfigError(
    `${url} refused user or password (${cause.message}): write redis://user:password@host, or redis://:password@host where there are no users`,
    { cause },
  );

const cluster: Maker = (url, cause) =>
  new ConfigError(
    `${url} is a Redis Cluster, which is not supported: Celery's layout spreads one message over several keys, and a cluster changes only keys of one slot together. Use a single Redis, perhaps behind sentinels`,
    { cause },
  );

const forbidden: Maker = (url, cause) =>
  new ConfigError(
    `${url}: this user may not do that (${cause.message}): it needs +@read +@write +@pubsub +@scripting +@connection +info +time and the keys that docs/redis.md lists`,
    { cause },
  );

/** By the first word of what Redis answers. */
const byReply: Record<string, Maker | undefined> = {
  WRONGPASS: login,
  NOAUTH: login,
  NOPERM: forbidden,
  MOVED: cluster,
  ASK: cluster,
  CROSSSLOT: cluster,
  CLUSTERDOWN: cluster,
  // It was a master when we began, and may be one again: no reason to give up what is at work.
  READONLY: (url, cause) =>
    new StoreError(`${url} has become a read-only replica: make it the master again, or connect through sentinel://`, {
      cause,
    }),
  OOM: (url, cause) =>
    new StoreError(
      `${url} has no memory left (maxmemory is reached, with a policy that evicts nothing, as a queue needs it): raise maxmemory, or let workers drain the queues`,
      { cause },
    ),
  MISCONF: (url, cause) =>
    new StoreError(`${url} takes no writes because it cannot save to its disk: make room there (${cause.message})`, {
      cause,
    }),
  LOADING: (url, cause) => new StoreError(`${url} is still loading its data: try again in a moment`, { cause }),
  BUSY: (url, cause) => new StoreError(`${url} is busy with a script: ${cause.message}`, { cause }),
  WRONGTYPE: (url, cause) =>
    new StoreCorruptError(
      `${url}: a key holds another type than Celery's layout says (${cause.message}). Rename that key, or set global_keyprefix`,
      { cause },
    ),
};

function byCode(error: Error): Maker {
  const code = 'code' in error ? String(error.code) : '';
  if (/^(ERR_TLS|ERR_SSL|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME)/.test(code)) {
    return (url, cause) =>
      new ConfigError(
        `${url}: no safe connection (${cause.message}). Is it a rediss:// server? For a certificate of its own give ssl_ca_certs, or ssl_cert_reqs=none to trust any`,
        { cause },
      );
  }
  if (error.message.startsWith("ERR The user executing the script can't run")) return forbidden;
  if (/^Protocol error/i.test(error.message)) {
    return (url, cause) => new ConfigError(`${url} answers, but not as a Redis does (${cause.message})`, { cause });
  }
  if (/timed out/i.test(error.message) && code === '') {
    return (url, cause) => new StoreError(`${url} did not answer in time`, { cause });
  }
  if (/closed|writeable|max retries/i.test(error.message) && code === '') {
    return (url, cause) => new StoreError(`the connection to ${url} is lost`, { cause });
  }
  return (url, cause) => new StoreError(`${url}: ${cause.message || code}`, { cause });
}
