import { expect, test } from 'vitest';
import { runMigration } from '../../scripts/migration/run.ts';

test('lovage migrate from Redis to SQS, killed twice and started again: 0 lost, 0 doubled', async () => {
  const outcome = await runMigration({ tasks: 6000, kills: 2, log: () => {} });
  expect(outcome).toMatchObject({ lost: 0, doubled: 0, strange: 0, leftAtSource: 0, delayed: 600 });
  expect(outcome.answer).toMatchObject({ done: true, moved: 6000 });
}, 120_000);
