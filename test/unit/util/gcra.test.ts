import { describe, expect, test } from 'vitest';
import { askRate, LATE_MS, type Rate, type RateState, restsAt } from '../../../src/util/gcra.ts';

/** A rate with a clock of its own. */
class Simulation {
  now = 1_700_000_000_000;
  readonly went: number[] = [];
  #state: RateState | undefined;
  readonly #reserved = new Map<string, number>();

  /** The moment to come again; `undefined`: it went. */
  ask(id: string, rate: Rate): number | undefined {
    if (this.#state && restsAt(this.#state) <= this.now) this.#state = undefined;
    const { state, moment } = askRate(this.#state, this.#reserved.get(id), rate, this.now);
    this.#state = state;
    if (moment > this.now) this.#reserved.set(id, moment);
    else this.#reserved.delete(id);
    if (moment <= this.now) this.went.push(this.now);
    return moment > this.now ? moment : undefined;
  }

  /** Lets ids ask at their times, and again at their moments, `late` after these; tells how often they asked. */
  run(arrivals: readonly number[], rate: Rate, late: () => number = () => 0): number {
    const start = this.now;
    const waiting = arrivals.map((at, i) => ({ id: String(i), at: start + at }));
    let asked = 0;
    while (waiting.length > 0) {
      waiting.sort((a, b) => b.at - a.at);
      const next = waiting.pop();
      if (!next) break;
      this.now = Math.max(this.now, next.at);
      const moment = this.ask(next.id, rate);
      asked += 1;
      if (moment !== undefined) waiting.push({ id: next.id, at: moment + late() });
    }
    return asked;
  }
}

/** The most that went within any stretch of this length. */
function mostWithin(went: readonly number[], ms: number): number {
  return Math.max(...went.map((from) => went.filter((at) => at >= from && at < from + ms).length));
}

/** Numbers that look random, the same in each run. */
function dice(seed: number): (max: number) => number {
  let state = seed;
  return (max) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32) * max;
  };
}

describe('a limited rate', () => {
  test.each([
    { intervalMs: 1000, burst: 1 },
    { intervalMs: 1000, burst: 5 },
    { intervalMs: 60_000 / 7, burst: 3 },
    { intervalMs: 0.5, burst: 10 },
  ])('of $burst at once and one each $intervalMs ms is never exceeded by those who come in time', (rate) => {
    for (let seed = 1; seed <= 20; seed++) {
      const roll = dice(seed);
      const simulation = new Simulation();
      const arrivals = Array.from({ length: 200 }, () => roll(150 * rate.intervalMs));
      simulation.run(arrivals, rate);
      expect(simulation.went).toHaveLength(200);
      for (const intervals of [1, 5, 20, 100]) {
        // A hair less than whole intervals: the next one is due at their end.
        const stretch = intervals * rate.intervalMs * (1 - 1e-6) - 1e-3;
        expect(mostWithin(simulation.went, stretch)).toBeLessThanOrEqual(rate.burst + intervals - 1);
      }
    }
  });

  test('is used to the full while there are enough who wait, and each asks twice at most', () => {
    const simulation = new Simulation();
    const start = simulation.now;
    const asked = simulation.run(Array(1000).fill(0), { intervalMs: 100, burst: 1 });
    expect(simulation.went.map((at) => at - start)).toEqual(Array.from({ length: 1000 }, (_, i) => i * 100));
    expect(asked).toBe(1999);
  });

  test('loses little to those who are always somewhat late, and nobody is sent back', () => {
    const roll = dice(7);
    const simulation = new Simulation();
    const start = simulation.now;
    const asked = simulation.run(Array(2000).fill(0), { intervalMs: 10, burst: 1 }, () => 200 + roll(500));
    expect(asked).toBe(3999);
    expect(simulation.now - start).toBeLessThan(2000 * 10 + 700);
  });

  test('is kept when all come back at once after a long time, without spinning', () => {
    const rate = { intervalMs: 100, burst: 2 };
    const simulation = new Simulation();
    for (let i = 0; i < 500; i++) simulation.ask(String(i), rate);
    const before = simulation.went.length;
    simulation.now += 3_000_000;
    const asked = simulation.run(Array(500).fill(0), rate);
    const went = simulation.went.slice(before);
    expect(went).toHaveLength(500);
    const inASecond = LATE_MS / rate.intervalMs;
    expect(mostWithin(went, 50)).toBeLessThanOrEqual(inASecond + 1);
    expect(mostWithin(went, 20_000)).toBeLessThanOrEqual(200 + inASecond + 1);
    expect(asked).toBeLessThan(1000);
  });

  test('that is made slower holds for those who have a moment already', () => {
    const simulation = new Simulation();
    for (let i = 0; i < 100; i++) simulation.ask(String(i), { intervalMs: 100, burst: 1 });
    simulation.now += 100;
    simulation.run(
      Array.from({ length: 100 }, (_, i) => i * 100),
      { intervalMs: 5000, burst: 1 },
    );
    expect(mostWithin(simulation.went.slice(1), 50_000)).toBeLessThanOrEqual(12);
  });

  test('that is made faster takes those in who come from then on', () => {
    const simulation = new Simulation();
    for (let i = 0; i < 61; i++) simulation.ask(String(i), { intervalMs: 60_000, burst: 1 });
    const fast = { intervalMs: 1000, burst: 1 };
    expect(simulation.ask('new', fast)).toBe(simulation.now + 61_000);
    expect(simulation.ask('60', fast)).toBe(simulation.now + 60 * 60_000);
  });
});
