import { describe, expect, test } from 'vitest';
import { ago } from '../../src/cli/ago.ts';
import { allLetters, findLetters, shortIds } from '../../src/cli/letters.ts';
import type { DeadLetter, DeadLetters } from '../../src/contracts/broker.ts';
import { Place } from './lovage.ts';

describe('lovage dlq', () => {
  test('an unknown task: dead letter, list, show, retry, drop', async () => {
    const place = new Place();
    const worker = await place.worker();
    const taskId = (await place.run(['call', 'shop.gone', '-a', '[1, "two"]', '-k', '{"three": NaN}'])).stdout.trim();
    await worker.says('goes to the dead letters');

    const list = await place.run(['dlq', 'list']);
    expect(list.stdout).toMatch(
      /^id +task +queue +died +deliveries +reason\n\S+ +shop\.gone +celery +(just now|\d+ s ago) +1 +this worker has no task 'shop\.gone'.*…\n$/,
    );
    const [letter] = JSON.parse((await place.run(['dlq', 'list', '--json'])).stdout);
    expect(letter).toEqual({
      id: expect.any(String),
      taskId,
      task: 'shop.gone',
      queue: 'celery',
      diedAt: expect.stringMatching(/^\d{4}-.*Z$/),
      deliveries: 1,
      reason: expect.stringContaining("no task 'shop.gone'"),
    });
    expect(JSON.parse((await place.run(['queues', '--json'])).stdout)).toMatchObject([{ queue: 'celery', dead: 1 }]);

    for (const id of [letter.id, taskId]) {
      const show = (await place.run(['dlq', 'show', id])).stdout;
      expect(show).toContain(letter.reason);
      expect(show).toMatch(/args +\[1,"two"\]\n/);
      expect(show).toMatch(/kwargs +\{"three":NaN\}\n/);
      expect(show).toMatch(/headers\n {2}lang +"ts"\n/);
    }
    expect(JSON.parse((await place.run(['dlq', 'show', letter.id, '--json'])).stdout)).toMatchObject({
      ...letter,
      args: [1, 'two'],
      kwargs: { three: 'NaN' },
      headers: { task: 'shop.gone' },
    });

    worker.process.kill();
    await worker.end();
    expect((await place.run(['dlq', 'retry', letter.id])).stdout).toBe('Put 1 message back.\n');
    expect((await place.run(['dlq', 'list'])).stdout).toBe('No dead letters.\n');
    expect(JSON.parse((await place.run(['queues', '--json'])).stdout)).toMatchObject([{ ready: 1, dead: 0 }]);

    const again = await place.worker();
    await again.says('goes to the dead letters');
    expect((await place.run(['dlq', 'drop', '--all'])).stderr).toMatch(
      /^error CONFIG: This deletes all dead letters for good: .* say -f/,
    );
    expect(JSON.parse((await place.run(['dlq', 'drop', '--all', '-Q', 'mail', '-f', '--json'])).stdout)).toEqual({
      dropped: 0,
    });
    expect((await place.run(['dlq', 'drop', '--all', '-f'])).stdout).toBe('Dropped 1 message.\n');
    expect(JSON.parse((await place.run(['dlq', 'list', '--json'])).stdout)).toEqual([]);
  });

  test('a letter is mended and sent again, by options or in an editor', async () => {
    const place = new Place();
    const taskId = (await place.run(['call', 'shop.gone', '-a', '["x"]'])).stdout.trim();
    const worker = await place.worker();
    await worker.says('goes to the dead letters');
    const edit = (...args: string[]) => place.run(['dlq', 'edit', taskId, ...args]);

    expect((await place.run(['dlq', 'edit', taskId], { EDITOR: '' })).stderr).toMatch(/say what to change: --task/);
    expect((await place.run(['dlq', 'edit', taskId], { EDITOR: 'true' })).stderr).toMatch(/nothing was changed/);
    const broken = await place.run(['dlq', 'edit', taskId], { EDITOR: 'echo "{}" >' });
    expect(broken.stderr).toMatch(/expected a name as "task"/);
    expect((await place.run(['dlq', 'edit', taskId], { EDITOR: 'false' })).stderr).toMatch(/'false' failed: status 1/);
    expect(JSON.parse((await place.run(['dlq', 'list', '--json'])).stdout)).toHaveLength(1);

    // Still unknown, under another name: it is a dead letter once more.
    const editor = `${process.execPath} -e "const fs = require('fs'), f = process.argv[1]; fs.writeFileSync(f, fs.readFileSync(f, 'utf8').replace('shop.gone', 'shop.away'))"`;
    expect((await place.run(['dlq', 'edit', taskId], { EDITOR: editor })).stdout).toBe(
      'Sent shop.away to celery again.\n',
    );
    await worker.says("no task 'shop.away'");
    expect((await edit('--task', 'shop.add', '--args', '[2, 3]')).stdout).toBe('Sent shop.add to celery again.\n');
    await expect.poll(async () => (await place.run(['result', taskId])).stdout, { timeout: 20_000 }).toContain('5');
    expect(JSON.parse((await place.run(['dlq', 'list', '--json'])).stdout)).toEqual([]);
  });

  test.each([
    [['show', 'nope'], "there is no dead letter 'nope'"],
    [['retry'], 'say which: ids as lovage dlq list shows them, or --all'],
    [['retry', '1', '--all'], 'say which'],
    [['drop', '1', '-Q', 'mail', '-f'], '-Q goes with --all'],
  ])('refuses %j', async (args, message) => {
    const { status, stderr } = await new Place().run(['dlq', ...args]);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe('ids of dead letters', () => {
  const letter = (id: string, taskId = `task-of-${id}`): DeadLetter => ({
    id,
    queue: 'celery',
    message: { body: new Uint8Array(), contentType: '', contentEncoding: '', headers: { id: taskId }, properties: {} },
    reason: '',
    diedAt: 0,
    attempt: 1,
  });
  const store = (...all: DeadLetter[]) =>
    ({
      list: async () => [...all],
      getMany: async (ids: readonly string[]) => ids.map((id) => all.find((one) => one.id === id)),
    }) as unknown as DeadLetters;
  const find = async (letters: DeadLetters, id: string) => (await findLetters(letters, [id])).map((one) => one.id);

  test('found by id, by task, by a beginning', async () => {
    const letters = store(letter('abcd-1'), letter('abcd-2'), letter('efgh-1', 'task-9'));
    expect(await find(letters, 'abcd-2')).toEqual(['abcd-2']);
    expect(await find(letters, 'task-9')).toEqual(['efgh-1']);
    expect(await find(letters, 'efgh')).toEqual(['efgh-1']);
    await expect(find(letters, 'abcd')).rejects.toThrow("'abcd' fits 2 dead letters: abcd-1, abcd-2");
    await expect(find(letters, 'abc')).rejects.toThrow('no dead letter');
  });

  test('a number is never taken for the beginning of another', async () => {
    await expect(find(store(letter('12345')), '1234')).rejects.toThrow("no dead letter '1234'");
  });

  test('are shown as short as they stay apart', () => {
    expect(shortIds(['7', '12'])).toEqual(['7', '12']);
    expect(shortIds(['aaaaaaaa-1111', 'bbbbbbbb-1111'])).toEqual(['aaaaaaaa', 'bbbbbbbb']);
    expect(shortIds(['aaaaaaaa-1111', 'aaaaaaaa-2222'])).toEqual(['aaaaaaaa-111', 'aaaaaaaa-222']);
  });

  test('--all leaves alone what dies meanwhile', async () => {
    let letters = [letter('old')];
    const died = async () => letters;
    const seen: string[][] = [];
    for await (const page of allLetters({ list: died } as unknown as DeadLetters, undefined)) {
      seen.push(page);
      letters = [{ ...letter('new'), diedAt: Date.now() + 60_000 }];
    }
    expect(seen).toEqual([['old']]);
  });
});

test('how long ago', () => {
  expect([0, 999, 1000, 59_999, 60_000, 7_200_000, 200_000_000].map((ms) => ago(0, ms))).toEqual([
    'just now',
    'just now',
    '1 s ago',
    '59 s ago',
    '1 min ago',
    '2 h ago',
    '2 d ago',
  ]);
});
