/** The ordeal of scripts/ordeal, small: everything that can be killed is killed once. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Redis } from 'ioredis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MARK, passagesOf } from '../../scripts/ordeal/aof.ts';
import { type Evidence, explain } from '../../scripts/ordeal/judge.ts';
import { lossOf } from '../../scripts/ordeal/losses.ts';
import type { Run, Sending } from '../../scripts/ordeal/records.ts';
import { idOf } from '../../scripts/ordeal/side.ts';
import { Lovage } from '../../src/index.ts';
import { startRedis } from '../support/redis-server.ts';
import { until } from '../support/workplace.ts';

const main = join(import.meta.dirname, '..', '..', 'scripts', 'ordeal', 'main.ts');

describe('the ordeal', () => {
  test('2,000 tasks; workers and senders of both languages and Redis are killed: none is lost, and what ran twice has a reason', {
    timeout: 180_000,
  }, async () => {
    const sizes = ['--tasks=2000', '--kills=6', '--redis-kills=1', '--task-ms=60', '--visibility-timeout=5'];
    const child = spawn(process.execPath, [main, ...sizes, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
    onTestFinished(() => void child.kill());
    const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
    expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: '' });
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({
      tasks: 2000,
      kills: 6,
      killsByKind: {
        'ts-worker': 1,
        'python-group': 1,
        'python-parent': 1,
        'python-child': 1,
        'ts-sender': 1,
        'python-sender': 1,
      },
      redisKills: 1,
      endedByThemselves: 0,
      lost: 0,
      deadLetters: 0,
      unexplained: 0,
    });
    expect(report.done + report.lostByCelery).toBe(2000);
    expect(report.succeeded + report.lostByCelery + report.failedByCelery).toBe(2000);
    expect(report.runs.typescript).toBeGreaterThan(100);
    expect(report.runs.python).toBeGreaterThan(100);
    // Each lost one needs the death of a Celery worker, or of Redis.
    expect(report.lostByCelery).toBeLessThanOrEqual(4);
  });
});

describe('the evidence of the append-only file', () => {
  test('tells a message that Celery popped and did not record from one that a Lovage worker took', async () => {
    await using redis = await startRedis({ aof: true });
    const app = new Lovage('evidence', { broker: redis.url });
    const client = new Redis(redis.url);
    try {
      const names = [0, 1, 2];
      for (const index of names) await app.sendTask('none', [], { taskId: idOf(index) });
      const broker = await app.broker();
      const consumer = await broker.consume(['celery']);
      const [taken] = await consumer.receive(1, 1000, AbortSignal.timeout(1000));
      expect(taken?.message.headers.id).toBe(idOf(0));
      // As a Celery worker does it.
      await client.brpop('celery', 1);
      await client.set(MARK, '1 python-group');
      const passages = await passagesOf(redis.folder, new Set(names));
      const whatHappened = names.map((index) => passages.get(index)?.map(({ what }) => what));
      expect(whatHappened).toEqual([['pushed', 'popped', 'held'], ['pushed', 'popped'], ['pushed']]);
      expect(names.map((index) => lossOf(passages.get(index) ?? []))).toEqual(['lost', 'popped', 'lost']);
      await consumer.close();
    } finally {
      client.disconnect();
      await app.close();
    }
  });

  test('does not take a message that a script of Lovage popped alone for one that Celery lost', async () => {
    await using redis = await startRedis({ aof: true });
    const client = new Redis(redis.url);
    try {
      await client.lpush('celery', JSON.stringify({ headers: { id: idOf(7) } }));
      await client.eval("redis.call('RPOP', KEYS[1], 1)", 1, 'celery');
      await client.set(MARK, '1 ts-worker');
      const passages = await until(async () => (await passagesOf(redis.folder, new Set([7]))).get(7));
      expect(lossOf(passages)).toBe('lost');
    } finally {
      client.disconnect();
    }
  });
});

describe('the explanation of a second run', () => {
  const first: Run = { index: 1, attempt: 1, worker: 'python-1', workerPid: 10, pid: 11, begin: 1000 };
  const again: Run = { ...first, worker: 'ts-1', workerPid: 20, pid: 20, begin: 9000, end: 9020 };
  const reasonsOf = (runs: readonly Run[], evidence: Partial<Evidence>) => {
    const all = { sends: new Map<number, Sending[]>(), deaths: [], outages: [], visibilityMs: 8000, ...evidence };
    return explain(runs, all).map(({ reason }) => reason);
  };
  const death = (
    pid: number,
    at: number,
    kind: 'python-child' | 'python-parent' | 'python-group' = 'python-group',
  ) => ({
    deaths: [{ kind, name: 'python-1', pid, from: at, to: at + 3 }],
  });

  test('is the death of the process that ran it, or of the one that would acknowledge it', () => {
    expect(reasonsOf([first, again], death(11, 1010, 'python-child'))).toEqual(['cutOff']);
    expect(reasonsOf([first, again], death(10, 1010))).toEqual(['cutOff']);
    expect(reasonsOf([first, again], death(10, 998)), 'begun while the signal was on its way').toEqual(['cutOff']);
    expect(reasonsOf([{ ...first, end: 1020 }, again], death(10, 1025))).toEqual(['unacknowledged']);
    expect(reasonsOf([{ ...first, end: 1020 }, again], death(10, 1010, 'python-parent'))).toEqual(['orphan']);
  });

  test('is none where another process died, or one that had time to acknowledge', () => {
    expect(reasonsOf([first, again], death(12, 1010))).toEqual(['unexplained']);
    expect(reasonsOf([first, again], death(10, 990))).toEqual(['unexplained']);
    expect(reasonsOf([{ ...first, end: 1020 }, again], death(10, 4000))).toEqual(['unexplained']);
    expect(reasonsOf([{ ...first, end: 1020 }, again], death(10, 9500))).toEqual(['unexplained']);
    expect(reasonsOf([{ ...first, end: 1020 }, again], {})).toEqual(['unexplained']);
  });

  test('is a message that was sent twice only where the first was not confirmed', () => {
    const second = { ...again, attempt: 2 };
    const sends = (...outcomes: Sending[]) => ({ sends: new Map([[1, outcomes]]) });
    expect(reasonsOf([first, second], sends('open', 'sent'))).toEqual(['sentTwiceSender']);
    expect(reasonsOf([first, second], sends('failed', 'sent'))).toEqual(['sentTwiceOutage']);
    expect(reasonsOf([first, second], sends('sent', 'sent'))).toEqual(['unexplained']);
  });

  test('is the visibility timeout only for what Celery ran for longer', () => {
    const long = { ...first, end: 9500 };
    expect(reasonsOf([long, again], {})).toEqual(['timeout']);
    expect(reasonsOf([{ ...long, pid: 10 }, again], {}), 'in a TypeScript worker').toEqual(['unexplained']);
  });

  test('is Redis only where it was away at the time', () => {
    const ran = { ...first, end: 1020 };
    expect(reasonsOf([ran, again], { outages: [{ from: 1010, to: 1900 }] })).toEqual(['outage']);
    expect(reasonsOf([ran, again], { outages: [{ from: 5000, to: 6000 }] })).toEqual(['unexplained']);
  });
});
