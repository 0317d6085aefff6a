import { describe, expect, test } from 'vitest';
import { ConfigError, StoreError, WorkerStuckError } from '../../../src/errors.ts';
import {
  advance,
  type Effect,
  type Life,
  newLife,
  type WorkerEvent,
  type WorkerState,
} from '../../../src/worker/life/worker-state.ts';

const lost = { kind: 'lost', error: new StoreError('no connection') } as const;
const started = { kind: 'started', broker: 'redis://shop/0' } as const;
const startFailed = { kind: 'startFailed', error: new StoreError('nobody there') } as const;
const stuck = { kind: 'stuck', error: new WorkerStuckError('nothing comes') } as const;
const [start, back, stop, stopped] = (['start', 'back', 'stop', 'stopped'] as const).map((kind) => ({ kind }));

/** Lives through events, one a second; what was done comes back beside the life. */
function live(events: readonly (WorkerEvent | undefined)[], maxRetries = Number.POSITIVE_INFINITY) {
  let life: Life = newLife(maxRetries);
  const effects: Effect[] = [];
  events.forEach((event, i) => {
    if (!event) return;
    const [next, ...done] = advance(life, event, i * 1000);
    life = next;
    effects.push(...done);
  });
  const told = effects.flatMap((effect) => (effect.kind === 'tell' ? [`${effect.level}: ${effect.message}`] : []));
  return { life, told, stops: effects.filter(({ kind }) => kind === 'stop').length };
}

describe('the state of a worker', () => {
  test.each<[string, readonly (WorkerEvent | undefined)[], WorkerState]>([
    ['before its start', [], 'new'],
    ['that waits for its broker', [start], 'starting'],
    ['that takes messages', [start, started], 'running'],
    ['whose broker is gone', [start, started, lost], 'reconnecting'],
    ['whose broker stays away', [start, started, lost, lost, lost], 'reconnecting'],
    ['whose broker came back', [start, started, lost, lost, back], 'running'],
    ['whose broker is gone again', [start, started, lost, back, lost], 'reconnecting'],
    ['that could not start', [start, startFailed], 'failed'],
    ['that is started again after it could not start', [start, startFailed, start], 'starting'],
    ['that is told to stop', [start, started, stop], 'stopping'],
    ['that is told to stop while its broker is away', [start, started, lost, stop, lost, back], 'stopping'],
    ['that has stopped', [start, started, stop, stopped], 'stopped'],
    ['that is told to stop before it could start', [start, stop, started, stopped], 'stopped'],
    ['that is stuck', [start, started, stuck], 'stopping'],
    ['that was stuck and has stopped', [start, started, stuck, stop, stopped], 'failed'],
    ['that has ended, whatever comes', [start, started, stop, stopped, start, lost, stuck], 'stopped'],
  ])('of a worker %s', (_, events, state) => {
    expect(live(events).life.state).toBe(state);
  });

  test('people are told once that the broker is lost and once that it is back, and of each try only when debugging', () => {
    expect(live([start, started, lost, lost, lost, back, back]).told).toEqual([
      'error: connection to redis://shop/0 lost: no connection; trying again',
      'debug: still no connection after 1.0 s: no connection',
      'debug: still no connection after 2.0 s: no connection',
      'warn: connected to redis://shop/0 again after 3.0 s',
    ]);
  });

  test('an error that another try cannot mend is called what it is', () => {
    expect(live([start, started, { kind: 'lost', error: new ConfigError('no right to read') }]).told).toEqual([
      'error: redis://shop/0 hands out no messages: no right to read; trying again',
    ]);
  });

  test('a worker whose broker stays away for more tries than it has stops, and has failed then', () => {
    const { life, told, stops } = live([start, started, lost, lost, lost, stopped], 2);
    expect(life).toMatchObject({ state: 'failed', failure: lost.error });
    expect(told.at(-1)).toBe('error: the worker stops, since it cannot go on: no connection');
    expect(stops).toBe(1);
  });

  test('tries are counted anew when the broker was back in between', () => {
    expect(live([start, started, lost, lost, back, lost, lost], 2).life.state).toBe('reconnecting');
  });
});
