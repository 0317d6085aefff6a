import { afterAll, describe, expect, test } from 'vitest';
import { commandsBetween, RedisProbe } from '../../bench/redis-probe.ts';
import type { IdleResults, Results } from '../../bench/report.ts';
import { type Workload, workloads } from '../../bench/workloads.ts';
import { startRedis } from '../support/redis-server.ts';
import { BenchRun } from './run.ts';

const bench = new BenchRun();
afterAll(() => bench[Symbol.dispose]());

describe('npm run bench on Redis', () => {
  test('measures Lovage beside the floor', { timeout: 180_000 }, () => {
    // What is left out is the same code on every target.
    const names = ['w1', 'w2', 'w5', 'w7', 'w8'];
    const args = ['--only=redis,floor', `--workloads=${names}`, '--quick', '--n=200', '--json'];
    const { status, stdout } = bench.run(args);
    const { rows, failed } = JSON.parse(stdout) as Results;
    expect({ status, failed }).toEqual({ status: 0, failed: [] });
    for (const target of ['redis', 'floor'] as const) {
      for (const [workload, { on, metrics }] of Object.entries<Workload>(workloads)) {
        if (!names.includes(workload)) continue;
        const found = rows.filter((row) => row.target === target && row.workload === workload);
        expect(found.map(({ metric }) => metric)).toEqual(on?.includes(target) === false ? [] : Object.keys(metrics));
        for (const { metric, median } of found) {
          expect(median, `${workload} ${metric} on ${target}`).toBeGreaterThan(0);
          expect(median, `${workload} ${metric} on ${target}`).toBeLessThan(Number.POSITIVE_INFINITY);
        }
      }
    }
    const number = (target: string, metric: string) =>
      rows.find((row) => row.target === target && row.workload === 'w8' && row.metric === metric)?.median ?? Number.NaN;
    // Two commands of 100 messages each; a result is one SET and one PUBLISH, in a script.
    expect(number('floor', 'senderSent')).toBe(2 / 200);
    expect(number('floor', 'senderExecuted')).toBe(2 / 200);
    for (const target of ['redis', 'floor']) {
      expect(number(target, 'workerExecuted')).toBeGreaterThanOrEqual(2);
      expect(number(target, 'workerExecuted')).toBeGreaterThan(number(target, 'workerSent'));
      expect(number(target, 'workerTrips')).toBeLessThanOrEqual(number(target, 'workerSent'));
      // An envelope has about 850.
      expect(number(target, 'bytes')).toBeGreaterThan(500);
      expect(number(target, 'bytes')).toBeLessThan(2500);
    }
  });

  test('--idle tells by name what an idle worker sends', { timeout: 60_000 }, () => {
    const { status, stdout } = bench.run(['--idle=5', '--only=redis', '--json']);
    expect(status).toBe(0);
    const { idle } = JSON.parse(stdout) as IdleResults;
    const server = idle[0]?.server;
    // It looks into its queues every two seconds.
    expect(server?.sent.EXISTS).toBeGreaterThan(0);
    expect(server?.executed.EXISTS).toBeCloseTo(server?.sent.EXISTS ?? 0, 5);
    for (const own of ['INFO', 'MONITOR', 'CLIENT', 'ECHO']) {
      expect(server?.sent).not.toHaveProperty(own);
      expect(server?.executed).not.toHaveProperty(own);
    }
    expect(server?.cpu).toBeGreaterThan(0);
    expect(server?.cpuAlone).toBeGreaterThan(0);
  });

  test('prints an idle table, without colours where it is piped', { timeout: 60_000 }, () => {
    const { stdout } = bench.run(['--idle=5', '--only=redis,sqlite']);
    expect(stdout).toContain('one worker without work, watched for 5 s');
    expect(stdout).toMatch(/^ +sqlite +redis$/m);
    expect(stdout).toMatch(/^processor time of redis-server, ms\/min +– +\d+$/m);
    expect(stdout).toMatch(/^ +sent EXISTS, \/min +– +\d+\.\d$/m);
    expect(stdout).toMatch(/^ +executed EXISTS, \/min +– +\d+\.\d$/m);
    expect(stdout).not.toContain('\u001b[');
  });
});

describe('the probe of a Redis', () => {
  test('counts what others sent and scripts executed, and nothing of its own', async () => {
    await using server = await startRedis();
    using disposer = new DisposableStack();
    const probe = disposer.adopt(await RedisProbe.open(server.url), (opened) => opened.close());
    const other = disposer.adopt(await RedisProbe.open(server.url), (opened) => opened.close());
    const before = await probe.mark();
    const heard = await probe.listen();
    await other.isDrained('a');
    await other.isDrained('a');
    await probe.isDrained('a');
    await other.mark();
    const { sent, inside } = await heard();
    expect(sent).toEqual({ EXISTS: 2, INFO: 1 });
    expect(inside).toEqual({});
    expect(commandsBetween(before.executed, (await probe.mark()).executed)).toEqual({ EXISTS: 2, INFO: 1 });
  });
});
