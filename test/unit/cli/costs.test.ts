import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { costsOf } from '../../../src/cli/costs.ts';
import { listPrices, readPrices } from '../../../src/cli/prices.ts';

const prices = {
  ...listPrices,
  items: { a: { what: 'a', dollars: 2, per: 1000, free: 1000 }, hour: { what: 'hours', dollars: 0.5, per: 1 } },
};

describe('the costs of a month', () => {
  test('are counted for full batches and one at a time, with what idle workers and parked tasks use', () => {
    const [cost] = costsOf(
      [{ price: 'a', what: 'requests', perTask: 3, perTaskBusy: 0.3, perParkedTask: 2, perIdleWorkerHour: 10 }],
      { tasks: 1000, parked: 100, workers: 2 },
      prices,
    );
    expect(cost).toEqual({
      price: 'a',
      what: 'requests',
      units: [300 + 200 + 14_600, 3000 + 200 + 14_600],
      idle: 14_600,
      dollars: [(2 * 14_100) / 1000, (2 * 16_800) / 1000],
    });
  });

  test('give free units once, though two kinds use a price', () => {
    const use = { price: 'a', what: 'requests', perTask: 1 };
    const costs = costsOf([use, use], { tasks: 800, parked: 0, workers: 0 }, prices);
    expect(costs.map(({ dollars }) => dollars[1])).toEqual([0, 1.2]);
  });

  test('have servers by the hour, and no number where there is no price', () => {
    const costs = costsOf(
      [
        { price: 'hour', what: 'server', perHour: 1 },
        { price: 'unknown', what: 'something', perTask: 1 },
      ],
      { tasks: 1, parked: 0, workers: 0 },
      prices,
    );
    expect(costs.map(({ dollars }) => dollars[0])).toEqual([365, Number.NaN]);
  });
});

describe('a table of prices', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-prices-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (text: string) => {
    const path = join(folder, 'prices.json');
    writeFileSync(path, text);
    return path;
  };

  test('replaces what it names', () => {
    const table = readPrices(file('{ "region": "eu-west-1", "items": { "sqs.standard": { "dollars": 0.44 } } }'));
    expect(table.region).toBe('eu-west-1');
    expect(table.items['sqs.standard']).toEqual({ ...listPrices.items['sqs.standard'], dollars: 0.44 });
    expect(table.items['s3.put']).toEqual(listPrices.items['s3.put']);
  });

  test.each([
    ['{', /prices.json: .*JSON/],
    ['{}', /expected { "region", "asOf", "items"/],
    ['{ "items": { "sqs.standart": {} } }', /there is no item 'sqs.standart'; did you mean 'sqs.standard'\?/],
    [
      '{ "items": { "sqs.standard": { "dollars": "0.4" } } }',
      /sqs.standard.dollars: expected a number from 0, got "0.4"/,
    ],
    ['{ "items": { "sqs.standard": { "per": 0 } } }', /sqs.standard.per: expected a number above 0, got 0/],
  ])('that is wrong is refused: %s', (text, message) => {
    expect(() => readPrices(file(text))).toThrow(message);
  });

  test('that is not there is refused', () => {
    expect(() => readPrices(join(folder, 'none.json'))).toThrow(/no such file/);
  });
});
