import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { costsOf } from '../../../src/cli/costs.ts';
import { listPrices } from '../../../src/cli/prices.ts';

// As the drivers of SQS and DynamoDB tell it, for one queue.
const usage = [
  { price: 'sqs.standard', what: 'requests', perTask: 3, perTaskBusy: 0.3, perIdleWorkerHour: 240 },
  { price: 'dynamodb.write', what: 'writes', perTask: 1 },
  { price: 'dynamodb.read', what: 'reads', perTask: 2 },
];

const span = (numbers: readonly number[]) => [...new Set(numbers.map((number) => number.toFixed(2)))].join(' - ');

test.each(['from-redis-to-sqs.md', 'from-redis-to-sqs.ja.md'])(
  'the costs in docs/%s are those of the list of prices',
  (name) => {
    const text = readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');
    const [small, medium] = ['small', 'medium'].map((size) => {
      const use = [{ price: `elasticache.t4g.${size}`, what: 'server', perHour: 1 }];
      return costsOf(use, { tasks: 0, parked: 0, workers: 0 }, listPrices)[0]?.dollars[0].toFixed(2);
    });
    for (const tasks of [10_000, 100_000, 1_000_000, 10_000_000]) {
      const costs = costsOf(usage, { tasks, parked: 0, workers: 1 }, listPrices).map(({ dollars }) => dollars);
      const sum = (from: number) =>
        [0, 1].map((i) => costs.slice(from).reduce((total, one) => total + (one[i] ?? 0), 0));
      const cells = [span(costs[0] ?? []), span(sum(1)), span(sum(0)), small, medium];
      expect(text).toContain(`| ${tasks.toLocaleString('en-US')} | ${cells.join(' | ')} |`);
    }
    expect(text).toContain(listPrices.asOf);
  },
);
