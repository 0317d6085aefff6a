import type { Broker } from '../../src/contracts/broker.ts';
import { override } from './override.ts';

/** When a process kills itself. */
export interface Crash {
  readonly at: 'source' | 'destination';
  readonly method: 'receive' | 'ackMany' | 'takeMany' | 'publishOnce' | 'publishMany';
  readonly when: 'before' | 'after';
  /** At which call, from 1. */
  readonly call: number;
  /** The store has no way to publish a batch once. */
  readonly plain?: boolean;
}

/** The same broker; at one call of one method this process is killed, before or after the store has done it. */
export function crashing(broker: Broker, { method, when, call, plain }: Crash): Broker {
  let calls = 0;
  const around = async <T>(name: Crash['method'], body: () => Promise<T>): Promise<T> => {
    const now = name === method && ++calls === call;
    if (now && when === 'before') process.kill(process.pid, 'SIGKILL');
    const result = await body();
    if (now) process.kill(process.pid, 'SIGKILL');
    return result;
  };
  const { parked, publishOnce } = broker;
  const once: NonNullable<Broker['publishOnce']> = (...args) =>
    around('publishOnce', async () => publishOnce?.apply(broker, args) ?? false);
  return override<Broker>(broker, {
    publishMany: (messages) => around('publishMany', () => broker.publishMany(messages)),
    // biome-ignore lint/suspicious/noExplicitAny: a member that is not there is not the same as one that is undefined.
    publishOnce: plain || !publishOnce ? (undefined as any) : once,
    ...(parked && {
      parked: { ...parked, takeMany: (leases) => around('takeMany', () => parked.takeMany(leases)) },
    }),
    async consume(queues, options) {
      const consumer = await broker.consume(queues, options);
      return override(consumer, {
        receive: (...args) => around('receive', () => consumer.receive(...args)),
        ackMany: (deliveries) => around('ackMany', () => consumer.ackMany(deliveries)),
      });
    },
  });
}
