import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { memoryBackend } from '../../src/backends/memory.ts';
import { memoryBroker } from '../../src/brokers/memory.ts';
import type { Broker, Consumer, LimitStore, ResultBackend } from '../../src/index.ts';
import { backendConformance, brokerConformance } from '../../src/testing/index.ts';
import { override } from '../support/override.ts';

interface Collected {
  readonly name: string;
  readonly body: (context: unknown) => Promise<void>;
}

/** Runs a suite by itself, only the laws that are named; returns those that were found broken. */
async function brokenLaws(
  suite: (runner: {
    describe(name: string, body: () => void): void;
    test(name: string, body: Collected['body']): void;
  }) => void,
  only: RegExp,
): Promise<string[]> {
  const laws: Collected[] = [];
  suite({ describe: (_name, body) => body(), test: (name, body) => laws.push({ name, body }) });
  const broken: string[] = [];
  for (const { name, body } of laws.filter((law) => only.test(law.name))) {
    await body({}).catch(() => broken.push(name));
  }
  return broken;
}

const broker = (change: (consumer: Consumer) => Partial<Consumer>) => async () => {
  const url = `memory://${randomUUID()}`;
  const create = (): Broker => {
    const real = memoryBroker(url);
    return override(real, {
      consume: async (queues, options) => {
        const consumer = await real.consume(queues, options);
        return override(consumer, change(consumer));
      },
    });
  };
  return { create, cleanup: async () => {} };
};

describe('the conformance suite notices a driver that', () => {
  test('hands out messages in the wrong order', async () => {
    const backwards = broker((consumer) => ({
      receive: async (max, waitMs, signal) => (await consumer.receive(max, waitMs, signal)).reverse(),
    }));
    const broken = await brokenLaws((runner) => brokerConformance(runner, backwards), /order|priority 0/);
    expect(broken).toContain('messages come in the order of publishing');
  });

  test('says that a late ack was in time', async () => {
    const careless = broker((consumer) => ({
      ackMany: async (deliveries) => {
        await consumer.ackMany(deliveries);
        return [];
      },
    }));
    const broken = await brokenLaws((runner) => brokerConformance(runner, careless), /late/);
    expect(broken.join()).toMatch(/late acknowledgement/);
  });

  test('puts no message into the dead letters', async () => {
    const dropping = broker((consumer) => ({ rejectMany: (deliveries) => consumer.ackMany(deliveries) }));
    const broken = await brokenLaws((runner) => brokerConformance(runner, dropping), /rejected/);
    expect(broken).toContain('a rejected message is kept with its reason');
  });

  const whole = (change: (real: Broker) => Partial<Broker>) => async () => {
    const url = `memory://${randomUUID()}`;
    const create = (): Broker => {
      const real = memoryBroker(url);
      return override(real, change(real));
    };
    return { create, cleanup: async () => {} };
  };

  test('publishes a batch again', async () => {
    const forgetful = whole((real) => ({
      publishOnce: async (messages) => {
        await real.publishMany(messages);
        return true;
      },
    }));
    const broken = await brokenLaws((runner) => brokerConformance(runner, forgetful), /batch with a key/);
    expect(broken).toContain('a batch with a key is published once, by whomever and however often');
  });

  test('gives a parked message to two', async () => {
    const generous = whole((real) => ({
      ...(real.parked && { parked: { ...real.parked, takeMany: async () => [] } }),
    }));
    const broken = await brokenLaws((runner) => brokerConformance(runner, generous), /parked/);
    expect(broken).toContain('of many who take a parked message one gets it, and it never becomes ready');
  });

  const limited = (change: (limits: LimitStore) => Partial<LimitStore>) => async () => {
    const url = `memory://${randomUUID()}`;
    const create = (): ResultBackend => {
      const real = memoryBackend(url);
      const { limits } = real;
      return override(real, limits ? { limits: override(limits, change(limits)) } : {});
    };
    return { create, cleanup: async () => {} };
  };

  test('gives a claim to two', async () => {
    const generous = limited(() => ({ claimMany: async (claims) => claims.map(() => ({ granted: true })) }));
    const broken = await brokenLaws((runner) => backendConformance(runner, generous), /exactly one of many who ask/);
    expect(broken).toHaveLength(1);
  });

  test('lets anybody finish', async () => {
    const careless = limited((limits) => ({
      finishMany: async (claims, ttlMs) => {
        await limits.claimMany(claims.map((claim) => ({ ...claim, leaseMs: 1000, slots: 100 })));
        return limits.finishMany(claims, ttlMs);
      },
    }));
    const broken = await brokenLaws((runner) => backendConformance(runner, careless), /comes back later|only a holder/);
    expect(broken).toHaveLength(2);
  });

  test('forgets who has reserved what', async () => {
    const forgetful = limited((limits) => ({
      reserveMany: (requests) => limits.reserveMany(requests.map((one) => ({ ...one, id: randomUUID() }))),
    }));
    const broken = await brokenLaws((runner) => backendConformance(runner, forgetful), /has the same moment/);
    expect(broken).toHaveLength(1);
  });

  test('replaces a SUCCESS', async () => {
    const forgetful = async () => {
      const url = `memory://${randomUUID()}`;
      const create = (): ResultBackend => {
        const real = memoryBackend(url);
        return override(real, {
          storeMany: async (records, ttlMs) => {
            await real.forgetMany(records.map(({ taskId }) => taskId));
            return real.storeMany(records, ttlMs);
          },
        });
      };
      return { create, cleanup: async () => {} };
    };
    const broken = await brokenLaws((runner) => backendConformance(runner, forgetful), /final/);
    expect(broken).toContain('a result that is final is not replaced by one that is less so');
  });
});
