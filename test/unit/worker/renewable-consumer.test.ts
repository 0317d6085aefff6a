import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { memoryBroker } from '../../../src/brokers/memory.ts';
import type { Consumer } from '../../../src/contracts/broker.ts';
import type { Delivery } from '../../../src/contracts/message.ts';
import { LeaseLostError, StoreError } from '../../../src/errors.ts';
import { idsOf, namedMessage } from '../../../src/testing/message.ts';
import { RenewableConsumer } from '../../../src/worker/taking/renewable-consumer.ts';
import { override } from '../../support/override.ts';

const never = new AbortController().signal;
let count = 0;

afterEach(() => {
  vi.useRealTimers();
});

/** A renewable consumer of a memory broker with messages; what its consumers do is written down, each by its number. */
async function renewable(
  names: readonly string[],
  change: (number: number, real: Consumer) => Partial<Consumer> = () => ({}),
) {
  const broker = memoryBroker(`memory://renewable-${process.pid}-${count++}`);
  await broker.start();
  onTestFinished(() => broker.stop());
  await broker.publishMany(names.map((name) => ({ queue: 'celery', message: namedMessage(name) })));
  const done: string[] = [];
  let made = 0;
  const make = async () => {
    const number = ++made;
    const real = await broker.consume(['celery']);
    return override(real, {
      ackMany: (deliveries) => {
        done.push(`${number} acks ${deliveries.length}`);
        return real.ackMany(deliveries);
      },
      close: () => {
        done.push(`${number} closes`);
        return real.close();
      },
      ...change(number, real),
    });
  };
  const consumer = new RenewableConsumer(await make(), make);
  const depth = async () => (await broker.countMany(['celery']))[0];
  return { broker, consumer, done, depth };
}

describe('a consumer that is made anew', () => {
  test('what is held stays held, is settled where it came from, and then the old one closes', async () => {
    const { consumer, done, depth } = await renewable(['a', 'b', 'c']);
    const old = await consumer.receive(2, 0, never);
    await consumer.renew();
    expect(await depth()).toMatchObject({ ready: 1, inFlight: 2 });
    const fresh = await consumer.receive(2, 0, never);
    expect(await consumer.ackMany([...fresh, ...old.slice(0, 1)])).toEqual([]);
    expect(done.splice(0).sort()).toEqual(['1 acks 1', '2 acks 1']);
    expect(await consumer.releaseMany(old.slice(1))).toEqual([]);
    expect(done).toEqual(['1 closes']);
    expect(await depth()).toMatchObject({ ready: 1, inFlight: 0 });
  });

  test('a receive under way ends, and the next one is of the new consumer', async () => {
    const { broker, consumer, done } = await renewable([]);
    const waiting = consumer.receive(1, 60_000, never);
    await consumer.renew();
    expect(await waiting).toEqual([]);
    expect(done).toEqual(['1 closes']);
    await broker.publishMany([{ queue: 'celery', message: namedMessage('a') }]);
    expect(await consumer.ackMany(await consumer.receive(1, 0, never))).toEqual([]);
    expect(done).toEqual(['1 closes', '2 acks 1']);
  });

  test('a receive that ends for nobody is left behind, and what it gets at last goes back', async () => {
    vi.useFakeTimers();
    const late = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<void>();
    const { consumer, depth } = await renewable(['a'], (number, real) => {
      if (number > 1) return {};
      return {
        receive: async (max) => {
          await late.promise;
          const deliveries = await real.receive(max, 0, never);
          taken.resolve();
          return deliveries;
        },
        // It hangs here, too.
        close: () => new Promise(() => {}),
      };
    });
    const waiting = consumer.receive(1, 60_000, never);
    const renewed = consumer.renew();
    await vi.advanceTimersByTimeAsync(5_000);
    await renewed;
    expect(await waiting).toEqual([]);
    late.resolve();
    await taken.promise;
    await vi.waitFor(async () => expect(await depth()).toMatchObject({ ready: 1, inFlight: 0 }));
    const closed = consumer.close();
    await vi.advanceTimersByTimeAsync(5_000);
    await closed;
  });

  test('failures stand at the places of their deliveries, and one consumer in trouble keeps no other from settling', async () => {
    const { consumer, done } = await renewable(['a', 'b', 'c'], (number) => {
      return number === 1 ? { ackMany: () => Promise.reject(new StoreError('gone')) } : {};
    });
    const [old] = await consumer.receive(1, 0, never);
    await consumer.renew();
    const [first, second] = await consumer.receive(2, 0, never);
    const deliveries = [first, old, second] as Delivery[];
    expect(await consumer.ackMany(deliveries)).toMatchObject([{ index: 1, error: { code: 'STORE' } }]);
    // The old one is kept for another try; the others were settled and are nobody's any more.
    const again = await consumer.ackMany(deliveries);
    expect(again.toSorted((a, b) => a.index - b.index)).toMatchObject([
      { index: 0, error: expect.any(LeaseLostError) },
      { index: 1, error: { code: 'STORE' } },
      { index: 2, error: expect.any(LeaseLostError) },
    ]);
    expect(done).not.toContain('1 closes');
  });

  test('reasons and times stay with their deliveries', async () => {
    const { broker, consumer } = await renewable(['a', 'b', 'c', 'd']);
    const old = await consumer.receive(2, 0, never);
    await consumer.renew();
    const fresh = await consumer.receive(2, 0, never);
    const mixed = [fresh[0], old[0]] as Delivery[];
    expect(await consumer.rejectMany(mixed, ['new', 'old'])).toEqual([]);
    const reasons = (await broker.deadLetters.list()).map(({ message, reason }) => [message.headers.id, reason]);
    expect(new Map(reasons as [string, string][])).toEqual(
      new Map([
        [String(mixed[0]?.message.headers.id), 'new'],
        [String(mixed[1]?.message.headers.id), 'old'],
      ]),
    );
    const later = Date.now() + 60_000;
    expect(await consumer.deferMany([fresh[1], old[1]] as Delivery[], [later, 0])).toEqual([]);
    expect(idsOf(await consumer.receive(2, 10_000, never))).toEqual(idsOf(old.slice(1)));
  });
});
