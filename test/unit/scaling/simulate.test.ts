import { describe, expect, test } from 'vitest';
import { arrivalsOf, parseRates, readArrivals } from '../../../src/scaling/arrivals.ts';
import { simulationChart } from '../../../src/scaling/chart.ts';
import { seeded } from '../../../src/scaling/random.ts';
import { simulate } from '../../../src/scaling/simulate.ts';
import { percentiles, type Simulation } from '../../../src/scaling/simulation.ts';
import { awsTracking } from '../../../src/scaling/tracking.ts';

const policy = { ...awsTracking, target: 100, min: 1, max: 10, scaleOutCooldownMs: 60_000, scaleInCooldownMs: 60_000 };

function setting(changes: Partial<Simulation> = {}): Simulation {
  return {
    arrivals: arrivalsOf({ steps: parseRates('50/s@0,0@10m'), seconds: 3600, backlog: 5_000, random: seeded(7) }),
    serviceTime: 0.1,
    spread: 'exponential',
    concurrency: 1,
    policy,
    metric: 'perTask',
    formula: 'work',
    fromZero: true,
    initialTasks: 1,
    interval: 60,
    boot: 45,
    protection: true,
    stopTimeout: 30,
    seed: 1,
    ...changes,
  };
}

describe('the simulator', () => {
  test('the published walk-through: one task, a burst, up to ten, and back down by 10, 7, ...', () => {
    const result = simulate(setting());
    const wanted = result.samples.map(({ desired }) => desired).filter((one, i, all) => one !== all[i - 1]);
    expect(wanted[0]).toBe(1);
    expect(wanted).toContain(10);
    expect(wanted.slice(wanted.indexOf(10))).toEqual([10, 7, 5, 4, 3, 2, 1]);
    expect(result).toMatchObject({ done: result.messages, interrupted: 0, peakTasks: 10 });
    // Three values of a minute before it grows; fifteen low ones before it shrinks.
    const grows = result.samples.find(({ desired }) => desired > 1);
    expect(grows?.at).toBeGreaterThanOrEqual(120);
    const high = result.samples.filter(({ metric = 0 }) => metric >= 90).at(-1);
    const shrinks = result.samples.find(({ desired, at }) => desired === 7 && at > 600);
    expect((shrinks?.at ?? 0) - (high?.at ?? 0)).toBeGreaterThanOrEqual(14 * 60);
  });

  test('is the same for the same seed, and another for another', () => {
    const once = JSON.stringify(simulate(setting()));
    expect(JSON.stringify(simulate(setting()))).toBe(once);
    expect(JSON.stringify(simulate(setting({ seed: 2 })))).not.toBe(once);
  });

  test('from zero and to zero, and no run is cut off', () => {
    const zero = { policy: { ...policy, min: 0 }, initialTasks: 0 };
    const result = simulate(setting({ ...zero, arrivals: [0, 0, 600] }));
    expect(result).toMatchObject({ done: 3, interrupted: 0 });
    expect(result.samples.at(-1)).toMatchObject({ desired: 0, running: 0 });
    const stuck = simulate(setting({ ...zero, arrivals: [0, 0, 600], fromZero: false }));
    expect(stuck.done).toBe(0);
  });

  test('scale-in in the middle of long runs: protected tasks finish them, others are cut off and run again', () => {
    const long = {
      arrivals: arrivalsOf({ steps: parseRates('0'), seconds: 0, backlog: 30 }),
      serviceTime: 3_000,
      spread: 'fixed',
      initialTasks: 10,
      policy: { ...policy, target: 10 },
    } as const;
    expect(simulate(setting(long))).toMatchObject({ done: 30, interrupted: 0 });
    const unprotected = simulate(setting({ ...long, protection: false }));
    expect(unprotected.interrupted).toBeGreaterThan(0);
    expect(unprotected.done).toBe(30);
  });

  test('latencies are those of theory where nothing scales: one server, random arrivals, half loaded', () => {
    const arrivals = arrivalsOf({ steps: parseRates('5/s'), seconds: 40_000, random: seeded(3) });
    const result = simulate(setting({ arrivals, policy: { ...policy, max: 1 } }));
    // M/M/1 at rho = 0.5 with a mean service of 0.1 s: sojourn times are exponential with a mean of 0.2 s.
    expect(result.latency.p50).toBeCloseTo(0.2 * Math.LN2, 1);
    expect(result.latency.p90).toBeCloseTo(0.2 * Math.log(10), 1);
    expect(result.taskHours * 3600).toBeCloseTo(result.seconds, 5);
  });

  test('percentiles are those of nearest rank', () => {
    expect(percentiles([5, 1, 4, 2, 3])).toEqual({ p50: 3, p90: 5, p99: 5, max: 5 });
    expect(percentiles([])).toEqual({ p50: 0, p90: 0, p99: 0, max: 0 });
  });
});

describe('arrivals', () => {
  test('are read from lines of seconds or ISO times, with counts, in any order', () => {
    expect(readArrivals('time,count\n10\n# a note\n12.5,2\n\n11\n', 'f')).toEqual([0, 1, 2.5, 2.5]);
    expect(readArrivals('2026-01-01T00:00:05Z\n2026-01-01T00:00:00Z,1\r\n', 'f')).toEqual([0, 5]);
  });

  test('what cannot be read is an error with its line', () => {
    expect(() => readArrivals('1\ntwo\n', 'f.csv')).toThrow('f.csv, line 2: expected seconds or an ISO time');
    expect(() => readArrivals('1,2,3\n', 'f')).toThrow('line 1');
    expect(() => readArrivals('\n', 'f')).toThrow('got none');
    expect(() => readArrivals('1,9999999\n', 'f')).toThrow('up to 5000000');
    for (const rate of ['x', '2/y', '1/s@5m,2/s@1m', '']) expect(() => parseRates(rate)).toThrow('rate: expected');
  });

  test('follow a course of rates, evenly where nothing is random', () => {
    const times = arrivalsOf({ steps: parseRates('1/s@0,0@3,60/m@10'), seconds: 12, backlog: 1 });
    expect(times).toEqual([0, 1, 2, 3, 11, 12]);
  });
});

describe('the chart', () => {
  test('is a document of its own, with axes, legend and what it was given as text', () => {
    const svg = simulationChart(simulate(setting()), { title: 'A < B & C', target: 100, metricName: 'messages' });
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    for (const text of ['A &lt; B &amp; C', 'Backlog', 'Tasks', 'wanted', 'running', 'target 100', '10 min', '>time<'])
      expect(svg).toContain(text);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });
});
