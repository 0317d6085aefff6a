import type { Check, Diagnosis, Usage } from '../../contracts/diagnosis.ts';
import { CONNECTIONS, openRedis, type RedisStore } from './store.ts';
import type { RedisLocation } from './url.ts';

/** Each of the two threads that renew leases and claims has one. */
const PER_WORKER =
  CONNECTIONS.command + CONNECTIONS.subscriber + CONNECTIONS.blockingPerConsumer + 2 * CONNECTIONS.leaseThread;

/** From here on a worker notices the way to its server. */
const FAR_MS = 20;

/** Clocks that differ by more make tasks early, late or expired. */
const SKEW_MS = 1000;

const FULL = 0.8;
const FEW_WORKERS = 5;

/** For `lovage doctor`: what the server tells of itself, and how far away it is. */
export async function diagnoseRedis(location: RedisLocation): Promise<Diagnosis> {
  const { store, release } = await openRedis(location);
  try {
    const info = await infoOf(store);
    const checks = [
      ...(info ? serverChecks(info) : [UNTOLD]),
      await latencyCheck(store),
      await clockCheck(store),
      ...encryptionChecks(location),
    ];
    return { checks, usage: usageOf(location) };
  } finally {
    await release();
  }
}

type Info = ReadonlyMap<string, string>;

const UNTOLD: Check = {
  what: 'server',
  verdict: 'note',
  found: 'this login may not ask INFO: persistence, memory and connections are not known',
};

async function infoOf(store: RedisStore): Promise<Info | undefined> {
  const text = await store.command('INFO').catch((error: Error) => {
    if (/NOPERM/.test(String(error.cause))) return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  return new Map(
    [...String(text).matchAll(/^([a-z_0-9]+):(.*?)\r?$/gm)].map(([, name = '', value = '']) => [name, value]),
  );
}

function serverChecks(info: Info): Check[] {
  const version = info.get('valkey_version') ?? info.get('redis_version') ?? 'unknown';
  const name = info.has('valkey_version') ? 'Valkey' : 'Redis';
  return [
    { what: 'version', verdict: 'ok', found: `${name} ${version}` },
    persistenceCheck(info),
    evictionCheck(info),
    ...memoryChecks(info),
    connectionCheck(info),
  ];
}

function persistenceCheck(info: Info): Check {
  const what = 'persistence';
  if (info.get('aof_enabled') === '1') {
    return info.get('aof_last_write_status') === 'err'
      ? {
          what,
          verdict: 'problem',
          found: 'the append-only file cannot be written',
          advice: 'see the log of the server',
        }
      : { what, verdict: 'ok', found: 'append-only file' };
  }
  if (info.get('rdb_last_bgsave_status') === 'err') {
    return { what, verdict: 'problem', found: 'the last snapshot failed', advice: 'see the log of the server' };
  }
  return {
    what,
    verdict: 'warning',
    found: 'no append-only file',
    advice: 'a restart loses what came after the last snapshot, if there are any: appendonly yes',
  };
}

function evictionCheck(info: Info): Check {
  const what = 'maxmemory-policy';
  const policy = info.get('maxmemory_policy') ?? 'unknown';
  if (policy === 'noeviction') return { what, verdict: 'ok', found: policy };
  const check = { what, found: policy, advice: 'messages and results vanish when memory is full: set noeviction' };
  // Without a limit nothing is evicted, as yet.
  return { ...check, verdict: info.get('maxmemory') === '0' ? 'warning' : 'problem' };
}

function memoryChecks(info: Info): Check[] {
  const [used, limit] = [Number(info.get('used_memory')), Number(info.get('maxmemory'))];
  if (!(limit > 0)) return [{ what: 'memory', verdict: 'note', found: `${megabytes(used)} used, no limit` }];
  const check = { what: 'memory', found: `${megabytes(used)} of ${megabytes(limit)} used` };
  return used / limit < FULL
    ? [{ ...check, verdict: 'ok' }]
    : [
        {
          ...check,
          verdict: 'warning',
          advice: 'when it is full nothing can be sent: let results expire sooner, or get more',
        },
      ];
}

function connectionCheck(info: Info): Check {
  const what = 'connections';
  const [used, limit] = [Number(info.get('connected_clients')), Number(info.get('maxclients'))];
  const needs = `a worker needs up to ${PER_WORKER}`;
  if (!(limit > 0)) return { what, verdict: 'note', found: `${used} in use; ${needs}` };
  const workers = Math.max(0, Math.floor((limit - used) / PER_WORKER));
  const check = { what, found: `${used} of ${limit} in use; ${needs}, so there is room for ${workers} more` };
  return workers >= FEW_WORKERS
    ? { ...check, verdict: 'ok' }
    : { ...check, verdict: 'warning', advice: 'raise maxclients, or end connections that nobody needs' };
}

async function latencyCheck(store: RedisStore): Promise<Check> {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await store.command('PING');
    times.push(performance.now() - start);
  }
  const best = Math.min(...times);
  const check = { what: 'round trip', found: `${best.toFixed(1)} ms` };
  return best < FAR_MS
    ? { ...check, verdict: 'ok' }
    : { ...check, verdict: 'warning', advice: 'workers and server should be in one place' };
}

async function clockCheck(store: RedisStore): Promise<Check> {
  const what = 'clock of this machine';
  const before = Date.now();
  const [seconds, micros] = (await store.command('TIME')) as [string, string];
  const server = Number(seconds) * 1000 + Number(micros) / 1000;
  const skew = before + (Date.now() - before) / 2 - server;
  if (Math.abs(skew) < SKEW_MS) return { what, verdict: 'ok', found: "agrees with the server's" };
  return {
    what,
    verdict: 'warning',
    found: `${(Math.abs(skew) / 1000).toFixed(1)} s ${skew > 0 ? 'ahead of' : 'behind'} the server's`,
    advice: 'set it right, with NTP: tasks with an eta are early or late by so much',
  };
}

/** A password that crosses a network in the clear. */
function encryptionChecks({ address, url }: RedisLocation): Check[] {
  const isLocal = /(@|\/\/)(localhost|127\.|\[::1\])/.test(url) || /^redis\+socket:|^sentinel:/.test(url);
  if (isLocal) return [];
  const what = 'encryption';
  if (address.tls) return [{ what, verdict: 'ok', found: 'TLS' }];
  return [{ what, verdict: 'note', found: 'none: rediss:// encrypts, where the server has TLS' }];
}

/** A server of AWS is paid for by the hour; which one it is does not show. */
function usageOf({ url }: RedisLocation): Usage[] {
  if (!/\.cache\.amazonaws\.com/.test(url)) return [];
  return [{ price: 'elasticache.t4g.small', what: 'the server, were it a cache.t4g.small', perHour: 1 }];
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(0)} MB`;
}
