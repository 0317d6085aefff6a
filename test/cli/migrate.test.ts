import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sqliteBroker } from '../../src/brokers/sqlite.ts';
import { openProgress } from '../../src/cli/progress.ts';
import { namedMessage } from '../../src/testing/message.ts';
import { Place } from './lovage.ts';

async function fill(url: string, count: number): Promise<void> {
  const broker = sqliteBroker(url);
  await broker.start();
  await broker.publishMany(
    Array.from({ length: count }, (_, i) => ({ queue: 'celery', message: namedMessage(`${i}`) })),
  );
  await broker.publishMany([{ queue: 'mail', message: namedMessage('mail'), delayMs: 3600_000 }]);
  await broker.stop();
}

const depths = async (place: Place, broker: string) =>
  JSON.parse((await place.run(['queues', '--json', '-b', broker])).stdout);

describe('lovage migrate', () => {
  test('tells what it would move, moves it, and then has nothing to do', async () => {
    const place = new Place();
    const target = `sqlite://${join(place.folder, 'target.db')}`;
    await fill(place.broker, 20);
    const dry = await place.run(['migrate', place.broker, target, '--dry-run']);
    expect(dry.status).toBe(0);
    expect(dry.stdout).toContain('celery     20          0        0     0\nmail        0          0        1     0\n');
    expect(dry.stdout).toContain(`Would move 21 messages from ${place.broker} to ${target}.\n`);
    const { status, stdout, stderr } = await place.run(['migrate', place.broker, target]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: `Moved 21 messages from ${place.broker} to ${target}.\n` });
    expect(stderr).toBe('0 of 21 messages\n20 of 21 messages\n21 of 21 messages\n');
    expect(await depths(place, place.broker)).toEqual([
      { queue: 'celery', ready: 0, inFlight: 0, delayed: 0, dead: 0 },
      { queue: 'mail', ready: 0, inFlight: 0, delayed: 0, dead: 0 },
    ]);
    expect(await depths(place, target)).toEqual([
      { queue: 'celery', ready: 20, inFlight: 0, delayed: 0, dead: 0 },
      { queue: 'mail', ready: 0, inFlight: 0, delayed: 1, dead: 0 },
    ]);
    const again = await place.run(['migrate', place.broker, target, '--json']);
    expect(again.stderr).toBe('');
    expect(JSON.parse(again.stdout)).toMatchObject({
      from: place.broker,
      to: target,
      done: true,
      moved: 0,
      journal: null,
    });
    expect(readdirSync(join(place.folder, '.lovage'))).toEqual(['.gitignore']);
  });

  test('moves to the broker of the app, and only the queues that are named', async () => {
    const place = new Place();
    const source = `sqlite://${join(place.folder, 'source.db')}`;
    await fill(source, 3);
    expect((await place.run(['migrate', source, '-Q', 'mail'])).stdout).toContain('Moved 1 message from');
    expect((await place.run(['migrate', source, '-X', 'celery'])).stdout).toContain('Moved 0 messages from');
    expect((await place.run(['migrate', source])).stdout).toContain('Moved 3 messages from');
  });

  test('killed in the middle and started again: nothing is lost, nothing doubled', async () => {
    const place = new Place();
    const target = `sqlite://${join(place.folder, 'target.db')}`;
    await fill(place.broker, 20_000);
    const journal = join(place.folder, 'journal.db');
    const args = ['migrate', place.broker, target, '--journal', journal];
    const running = place.start(args);
    await running.says(/[4-9]\d\d\d of 20001/);
    running.process.kill('SIGKILL');
    await new Promise((resolve) => running.process.once('close', resolve));
    expect(existsSync(journal)).toBe(true);
    expect((await place.run([...args, '--dry-run'])).stdout).toContain('An earlier move was broken off');
    const { status, stdout } = await place.start(args).end(120_000);
    expect(stdout).toContain('Moved 20001 messages');
    expect(status).toBe(0);
    expect(existsSync(journal)).toBe(false);
    const broker = sqliteBroker(target);
    await broker.start();
    const consumer = await broker.consume(['celery']);
    const ids: string[] = [];
    for (let some = await take(); some.length > 0; some = await take()) ids.push(...some);
    await broker.stop();
    expect(ids.length).toBe(20_000);
    expect(new Set(ids).size).toBe(20_000);

    async function take(): Promise<string[]> {
      const got = await consumer.receive(1000, 1, new AbortController().signal);
      return got.map(({ message }) => String(message.properties.correlation_id));
    }
  });

  test('SIGTERM ends it after a batch, with exit status 1 and a word on how to go on', async () => {
    const place = new Place();
    const target = `sqlite://${join(place.folder, 'target.db')}`;
    await fill(place.broker, 20_000);
    const running = place.start(['migrate', place.broker, target]);
    await running.says(/[2-9]\d\d\d of 20001/);
    running.process.kill('SIGTERM');
    const { status, stdout } = await running.end();
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /Ended before all was moved; run the same command again\. What is under way is in .*migrate-\w{8}\.db/,
    );
    // Arguments of tasks stand in it.
    const [, journal = ''] = /What is under way is in (\S+)/.exec(stdout) ?? [];
    expect(statSync(journal).mode & 0o077).toBe(0);
    expect((await place.run(['migrate', place.broker, target])).stdout).toContain('Moved 20001 messages');
  });

  test.each([
    ['a broker that is not there', ['migrate', 'redis://127.0.0.1:1/0?socket_connect_timeout=1'], 1],
    ['a URL that is none', ['migrate', 'rediss'], 2],
    ['the memory of this process', ['migrate', 'memory://'], 2],
    ['no source', ['migrate'], 2],
  ])('refuses %s', async (_, args, wanted) => {
    const { status, stderr, stdout } = await new Place().run(args);
    expect({ status, stdout }).toEqual({ status: wanted, stdout: '' });
    expect(stderr).toMatch(/^error \w+: /);
  });
});

test('the progress bar counts on a terminal, and is taken away at the end', async () => {
  let written = '';
  const stream = {
    isTTY: true,
    columns: 100,
    write(chunk: string) {
      written += chunk;
      return true;
    },
  } as unknown as NodeJS.WriteStream;
  const progress = await openProgress({ noun: 'message', silent: false, note: () => {}, stream });
  progress.show(0, 1000);
  progress.show(1000, 1000);
  progress.close();
  expect(written).toContain('1000 of 1000 messages');
  expect(written).toContain('100 %');
});
