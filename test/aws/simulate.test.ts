/** `lovage autoscale simulate`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Place } from '../cli/lovage.ts';

const docs = join(import.meta.dirname, '..', '..', 'docs');
const guide = readFileSync(join(docs, 'autoscaling.md'), 'utf8');
const simulate = (place: Place, ...args: string[]) => place.run(['autoscale', 'simulate', ...args]);

describe('lovage autoscale simulate', () => {
  test('the command line in docs/autoscaling.md draws the chart that stands there, and says what stands there', async () => {
    const [, block = ''] = /```console\n(\$ lovage autoscale simulate[\s\S]*?)```/.exec(guide) ?? [];
    const [, command = '', said = ''] = /^\$ lovage ((?:.*\\\n)*.*)\n([\s\S]*)$/.exec(block) ?? [];
    const place = new Place();
    const words = [...command.replaceAll('\\\n', ' ').matchAll(/'([^']*)'|(\S+)/g)].map(
      ([, quoted, bare]) => quoted ?? bare ?? '',
    );
    const { status, stdout } = await place.run(words);
    expect(status).toBe(0);
    expect(stdout).toBe(said);
    const chart = readFileSync(join(place.folder, 'autoscaling.svg'), 'utf8');
    expect(chart).toBe(readFileSync(join(docs, 'autoscaling.svg'), 'utf8'));
  });

  test('takes arrivals from a file, the JSON of target tracking and prices, and answers as JSON', async () => {
    const place = new Place();
    const arrivals = place.write('arrivals.csv', `time,count\n2026-03-01T08:00:00Z,300\n2026-03-01T08:10:00Z,20\n`);
    const tracking = place.write(
      'config.json',
      readFileSync(join(import.meta.dirname, 'fixtures', 'hand-made-config.txt'), 'utf8'),
    );
    const prices = place.write(
      'prices.json',
      '{"items": {"fargate.vcpu": {"dollars": 1}, "fargate.memory": {"dollars": 0}}}',
    );
    const line = [
      '--arrivals',
      arrivals,
      '--policy',
      tracking,
      '--prices',
      prices,
      '--service-time',
      '2s',
      '--vcpu',
      '0.5',
    ];
    const { status, stdout } = await simulate(place, ...line, '--min', '0', '--max', '4', '--json');
    expect(status).toBe(0);
    const answer = JSON.parse(stdout);
    expect(answer).toMatchObject({ messages: 320, done: 320, interrupted: 0 });
    expect(answer.cost).toBeCloseTo(answer.taskHours * 0.5, 9);
  });

  test('a policy that never gets it done ends with 1, and is told so', async () => {
    const { status, stderr } = await simulate(
      new Place(),
      '--backlog',
      '1',
      '--service-time',
      '1',
      '--target',
      '1',
      '--max',
      '2',
      '--no-from-zero',
    );
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('never gets them done') });
  });

  test('what makes no sense is an error', async () => {
    const place = new Place();
    const enough = ['--service-time', '1', '--target', '10', '--max', '2'];
    const wrong: [string[], string][] = [
      [['--rate', '1'], '--service-time'],
      [['--rate', '1', '--service-time', '1', '--target', '5'], '--max'],
      [['--rate', '1', '--service-time', '1', '--max', '5'], '--target'],
      [enough, '--arrivals, --rate or --backlog'],
      [[...enough, '--rate', '1', '--arrivals', 'x'], 'not both'],
      [[...enough, '--arrivals', 'none.csv'], 'none.csv'],
      [[...enough, '--arrivals', place.write('bad.csv', '1\nx\n')], 'line 2'],
      [[...enough, '--rate', '1e9'], 'rate: expected'],
      [[...enough, '--rate', '999999/s'], 'up to 5000000'],
      [[...enough, '--rate', '1', '--max', '1001'], 'up to 1000 tasks'],
      [[...enough, '--rate', '0'], 'no message would come'],
      [
        [...enough, '--rate', '1', '--prices', place.write('p.json', '{"items": {"fargate.cpu": {"dollars": 1}}}')],
        "no item 'fargate.cpu'; did you mean 'fargate.vcpu'?",
      ],
      [
        [...enough, '--rate', '1', '--prices', place.write('q.json', '{"items": {"fargate.vcpu": {"dollars": -1}}}')],
        'a number from 0',
      ],
      [[...enough, '--rate', '1', '--for', '1m', '--svg', '/nowhere/at/all.svg'], '--svg'],
      [[...enough, '--rate', '1', '--boot', 'soon'], 'a time such as 90s'],
    ];
    for (const [options, message] of wrong) {
      const { status, stderr } = await simulate(place, ...options);
      expect({ options, status, stderr }).toEqual({ options, status: 2, stderr: expect.stringContaining(message) });
    }
  });
});
