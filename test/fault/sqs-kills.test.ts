import { expect, test } from 'vitest';
import { Lovage } from '../../src/index.ts';
import { SqsShop } from '../support/sqs-shop.ts';
import { kill, until, Workplace } from '../support/workplace.ts';

/** How many tasks: 20,000 take some minutes. */
const count = Number(process.env.SQS_TASKS ?? 2000);

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

test(
  `of ${count.toLocaleString('en-US')} tasks none is lost while workers are killed and requests fail`,
  async () => {
    await using shop = await SqsShop.open();
    await using place = new Workplace();
    const url = `${shop.url}&visibility_timeout=5`;
    const app = new Lovage('client', { broker: `${url}&create_missing=true`, backend: false, logger: quiet });
    const numbers = Array.from({ length: count }, (_, i) => i);
    // Half of a percent each way, of all requests, and one percent of the entries of batches.
    for (const fault of [{ error: 'InternalFailure', status: 500 }, { cut: true } as const, { lose: true } as const]) {
      shop.proxy.fail('*', fault, { rate: 0.015 });
    }
    const entries = () => Math.random() < 0.02;
    for (const action of ['SendMessageBatch', 'DeleteMessageBatch', 'ChangeMessageVisibilityBatch']) {
      shop.proxy.fail(action, { entries, code: 'InternalError' }, { rate: 0.5 });
    }
    await app.sendMany(
      'tasks.slowEffect',
      numbers.map((n) => [n]),
      { retryPolicy: { max_retries: 20 } },
    );
    const start = () => place.worker({ TEST_BROKER: url, TEST_BACKEND: place.broker, TEST_DELIVERIES: '20' });
    const workers = [await start(), await start(), await start()];
    const done = () => new Set(place.notes()).size;
    for (let round = 0; round < count / 500; round++) {
      const before = done();
      await until(() => done() >= Math.min(count, before + 150), 60_000);
      const victim = workers.shift();
      if (victim) await kill(victim);
      workers.push(await start());
    }
    await until(() => done() === count, 60_000 + count * 30);
    shop.proxy.heal();
    await until(() => shop.lying('celery').length === 0, 30_000);
    expect(shop.proxy.faults).toBeGreaterThan(10);
    expect(shop.lying('celery-dead')).toEqual([]);
    await app.close();
  },
  180_000 + count * 60,
);
