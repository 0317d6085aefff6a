import { expect, test } from 'vitest';
import { startRedis } from '../support/redis-server.ts';
import { Place } from './lovage.ts';

interface Check {
  readonly what: string;
  readonly verdict: string;
  readonly found: string;
}

async function checks(url: string): Promise<{ status: number | null; of: (what: string) => Check | undefined }> {
  const { status, stdout } = await new Place().run(['doctor', '-b', url, '--json']);
  const all: Check[] = JSON.parse(stdout).stores.flatMap((store: { checks: Check[] }) => store.checks);
  return { status, of: (what) => all.find((check) => check.what === what) };
}

test('lovage doctor: a Redis that keeps everything is well', async () => {
  await using server = await startRedis({ aof: true });
  const { status, of } = await checks(server.url);
  expect(status).toBe(0);
  for (const what of [
    'version',
    'persistence',
    'maxmemory-policy',
    'connections',
    'round trip',
    'clock of this machine',
  ])
    expect(of(what)).toMatchObject({ verdict: 'ok' });
});

test('lovage doctor: a Redis that evicts, keeps nothing and has few connections is not', async () => {
  const args = ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru', '--maxclients', '20'];
  await using server = await startRedis({ args });
  const { status, of } = await checks(server.url);
  expect(status).toBe(1);
  expect(of('maxmemory-policy')).toMatchObject({ verdict: 'problem', found: 'allkeys-lru' });
  expect(of('persistence')).toMatchObject({ verdict: 'warning' });
  expect(of('connections')).toMatchObject({ verdict: 'warning' });
});
