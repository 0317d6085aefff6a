import { spawnSync } from 'node:child_process';

/** The version of the `redis-server` of this machine; `undefined` where there is none. */
export function redisVersion(): string | undefined {
  const { stdout } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });
  return /\bv=(\S+)/.exec(stdout ?? '')?.[1];
}

/** Said where there is none. */
export const NO_REDIS =
  'redis-server is missing; on Debian: apt-get install redis-server, on macOS: brew install redis';
