/** In which order a settlement is done, and what becomes of a message whose settlement was cut off before the last step. */
import { expect, onTestFinished, test } from 'vitest';
import { type Broker, LeaseLostError, Lovage, type ResultBackend, Worker } from '../../src/index.ts';
import { quiet } from '../support/in-memory.ts';
import { LimitShop, stores } from '../support/limit-shop.ts';
import { override } from '../support/override.ts';
import { until } from '../support/workplace.ts';

/** Takes one batch, and is gone before that is acked: the store keeps the messages until their lease ends. */
function goneBeforeAck(broker: Broker): Broker {
  return override(broker, {
    async consume(...args) {
      const consumer = await broker.consume(...args);
      let isGone = false;
      return override(consumer, {
        async receive(max, waitMs, signal) {
          if (!isGone) return consumer.receive(max, waitMs, signal);
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          return [];
        },
        async ackMany(deliveries) {
          isGone = true;
          return deliveries.map((_, index) => ({ index, error: new LeaseLostError('gone') }));
        },
        async close() {},
      });
    },
  });
}

test.each(
  stores.flatMap(
    (store) =>
      [
        [store, 'SUCCESS', 'is acked and not run again', 1],
        [store, 'FAILURE', 'runs again', 2],
      ] as const,
  ),
)('on %s, a message that comes again after its %s was stored %s', async (store, state, _what, count) => {
  await using shop = await LimitShop.open(store, 0.5);
  const drivers = shop.drivers();
  const first = shop.app({ ...drivers, broker: goneBeforeAck(drivers.broker) });
  const second = shop.app();
  const runs: string[] = [];
  const links: number[] = [];
  for (const [app, by] of [
    [first, 'first'],
    [second, 'second'],
  ] as const) {
    app.task('pay', (amount: number) => {
      runs.push(by);
      if (amount < 0) throw new Error('refused');
      return amount;
    });
    app.task('tell', { queue: 'tell' }, (amount: number) => void links.push(amount));
  }
  await shop.worker(first);
  const link = second.signature('tell').set({ queue: 'tell' });
  const result = await second.sendTask('pay', [state === 'SUCCESS' ? 5 : -5], { link });
  await until(async () => (await result.state) === state);
  const broker = await second.broker();
  await shop.worker(second, { queues: ['celery', 'tell'] });
  await until(async () => {
    const [depth] = await broker.countMany(['celery']);
    return depth?.ready === 0 && depth.inFlight === 0;
  });
  expect(runs).toHaveLength(count);
  expect(await result.state).toBe(state);
  // What follows a success is sent again: for all the second worker knows, it was not.
  if (state === 'SUCCESS') await until(() => links.length === 2);
});

test('a retry is sent first, then RETRY is stored, and then the message is acked', async () => {
  const url = `memory://order-${process.pid}`;
  const real = new Lovage('real', { broker: url, logger: quiet });
  const [broker, backend] = [await real.broker(), (await real.backend()) as ResultBackend];
  const steps: string[] = [];
  const app = new Lovage('order', {
    logger: quiet,
    broker: override(broker, {
      async publishMany(messages) {
        steps.push(...messages.map(({ message }) => `send retry ${message.headers.retries}`));
        return broker.publishMany(messages);
      },
      async consume(...args) {
        const consumer = await broker.consume(...args);
        return override(consumer, {
          async ackMany(deliveries) {
            steps.push('ack');
            return consumer.ackMany(deliveries);
          },
        });
      },
    }),
    backend: override(backend, {
      async storeMany(records, ttlMs) {
        steps.push(...records.map((record) => `store ${record.state}`));
        return backend.storeMany(records, ttlMs);
      },
    }),
  });
  const worker = new Worker(app);
  onTestFinished(async () => {
    await worker.stop({ now: true });
    await app.close();
    await real.close();
  });
  const task = app.task('flaky', { bind: true }, (self) => {
    if (self.request.retries === 0) throw self.retry({ countdown: 0.1 });
    return 'well';
  });
  await worker.start();
  expect(await (await task.delay()).get({ timeout: 5 })).toBe('well');
  await until(() => steps.filter((step) => step === 'ack').length === 2);
  expect(steps).toEqual(['send retry 0', 'send retry 1', 'store RETRY', 'ack', 'store SUCCESS', 'ack']);
});
