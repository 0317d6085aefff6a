import assert from 'node:assert/strict';
import type { LimitStore } from '../contracts/limits.ts';
import { ConfigError } from '../errors.ts';
import { hasLimits } from './backend-laws-claims.ts';
import type { BackendLaw } from './backend-world.ts';
import { eventually, passes } from './eventually.ts';

/** An interval beside which the time that a law takes is nothing. */
const LONG_MS = 3_600_000;
/** What a slow machine may take for one law. */
const SLACK_MS = 60_000;

/** A limit to ask with. */
interface Limit {
  readonly key: string;
  readonly intervalMs?: number;
  readonly burst?: number;
}

function reserve(limits: LimitStore, ids: readonly string[], { key, intervalMs = LONG_MS, burst = 1 }: Limit) {
  return limits.reserveMany(ids.map((id) => ({ key, id, intervalMs, burst })));
}

async function reserveOne(limits: LimitStore, id: string, limit: Limit): Promise<number> {
  const [wait] = await reserve(limits, [id], limit);
  assert.ok(wait !== undefined);
  return wait;
}

function names(count: number, prefix = 'id'): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

/** Compares waits with moments that were counted from the beginning of the law: time has passed since, but not much. */
function assertWaits(waits: readonly number[], expected: readonly number[]): void {
  assert.equal(waits.length, expected.length);
  for (const [i, wait] of waits.entries()) {
    const moment = expected[i] ?? 0;
    // Up to 1 later: waits are rounded up.
    const ok = moment === 0 ? wait === 0 : wait <= moment + 1 && wait > moment - SLACK_MS;
    assert.ok(ok, `expected waits of about ${expected}, got ${waits}`);
  }
}

/** Rates: when something may happen. */
export const rateLaws: readonly BackendLaw[] = [
  {
    name: 'a burst goes at once, then one an interval; another key has a rate of its own',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const limit = { key: world.id('r'), burst: 3 };
      const expected = [0, 0, 0, LONG_MS, 2 * LONG_MS, 3 * LONG_MS];
      assertWaits(await reserve(limits, names(6), limit), expected);
      assertWaits(await reserve(limits, ['more'], limit), [4 * LONG_MS]);
      assertWaits(await reserve(limits, names(2), { key: world.id('other') }), [0, LONG_MS]);
      assert.deepEqual(await limits.reserveMany([]), []);
    },
  },
  {
    name: 'moments of one call lie exactly an interval apart, also where that is no whole number',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const intervalMs = 60_000_000 / 7;
      const waits = await reserve(limits, names(3000), { key: world.id('r'), intervalMs });
      const [, first = 0] = waits;
      assert.equal(waits[0], 0);
      // Slices of a long batch are asked one after the other, so later waits are somewhat shorter.
      for (const [i, wait] of waits.entries()) {
        if (i === 0) continue;
        const ideal = first + (i - 1) * intervalMs;
        assert.ok(wait <= ideal + 1 && wait > ideal - SLACK_MS, `wait ${i}: expected about ${ideal}, got ${wait}`);
      }
      const [, a = 0, b = 0, c = 0] = await reserve(limits, names(4), { key: world.id('s'), intervalMs: 1e7 / 3 });
      assert.ok(Math.abs(b - a - 1e7 / 3) <= 1 && Math.abs(c - a - 2e7 / 3) <= 1, `got ${[a, b, c]}`);
    },
  },
  {
    name: 'an id that asks again has the same moment, on every connection; nobody loses a place by that',
    needs: hasLimits,
    async check(world) {
      const [a, b] = [await world.openLimits(), await world.openLimits()];
      const limit = { key: world.id('r') };
      assertWaits(await reserve(a, ['gone', 'x', 'y', 'x'], limit), [0, LONG_MS, 2 * LONG_MS, LONG_MS]);
      assertWaits(await reserve(b, ['y', 'x'], limit), [2 * LONG_MS, LONG_MS]);
      assertWaits(await reserve(b, ['z'], limit), [3 * LONG_MS]);
      // What went has no reservation left: it asks for one more.
      assertWaits(await reserve(a, ['gone'], limit), [4 * LONG_MS]);
    },
  },
  {
    name: 'a reservation is used up when its moment has come and its id asks',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const limit = { key: world.id('r'), intervalMs: 400 };
      const [first, wait = 0] = await reserve(limits, ['x', 'y'], limit);
      assert.equal(first, 0);
      assert.ok(wait > 0 && wait <= 401);
      const again = await eventually(async () => {
        const [now, next = 0] = await reserve(limits, ['y', 'y'], limit);
        assert.equal(now, 0);
        return next;
      });
      assert.ok(again > 0 && again <= 401, `expected a new moment, got ${again}`);
    },
  },
  {
    name: 'after a rest a burst goes at once again, and no more than that',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const limit = { key: world.id('r'), intervalMs: 50, burst: 2 };
      assert.deepEqual((await reserve(limits, names(2), limit)).slice(0, 2), [0, 0]);
      await passes(300);
      const [a, b, c = 0] = await reserve(limits, names(3, 'later'), limit);
      assert.deepEqual([a, b], [0, 0]);
      assert.ok(c > 0 && c <= 51, `expected one interval, got ${c}`);
    },
  },
  {
    name: 'connections that reserve at the same time get different moments',
    needs: hasLimits,
    async check(world) {
      const stores = [await world.openLimits(), await world.openLimits(), await world.openLimits()];
      const limit = { key: world.id('r') };
      const ask = (id: string, i: number) => reserveOne(stores[i % 3] as LimitStore, id, limit);
      const waits = (await Promise.all(names(30).map(ask))).sort((a, b) => a - b);
      assertWaits(
        waits,
        waits.map((_, i) => i * LONG_MS),
      );
    },
  },
  {
    name: 'those who come late together do not all go at once; the others are given moments behind one another',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const limit = { key: world.id('r'), intervalMs: 50 };
      const late = names(30, 'late');
      await reserve(limits, ['first', ...late], limit);
      await passes(31 * 50);
      const waits = await reserve(limits, [...late, 'new'], limit);
      const waiting = waits.filter((wait) => wait > 0);
      const gone = waits.length - waiting.length;
      // As many as the rate has in a second, and one.
      assert.ok(gone >= 1 && gone <= 21, `${gone} of 31 went at once`);
      for (const [i, wait] of waiting.entries()) {
        if (i > 0) assert.ok(wait - (waiting[i - 1] ?? 0) >= 49, `expected an interval between ${waiting}`);
      }
    },
  },
  {
    name: 'a faster rate is felt by those who ask from then on; who has a moment keeps it',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const key = world.id('r');
      assertWaits(await reserve(limits, names(11), { key }).then((waits) => waits.slice(-1)), [10 * LONG_MS]);
      const faster = { key, intervalMs: LONG_MS / 10 };
      assertWaits(await reserve(limits, ['new', 'newer'], faster), [(11 * LONG_MS) / 10, (12 * LONG_MS) / 10]);
      assertWaits(await reserve(limits, ['id10'], faster), [10 * LONG_MS]);
    },
  },
  {
    name: 'a slower rate counts from the next reservation on',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const key = world.id('r');
      assertWaits(await reserve(limits, names(2), { key }), [0, LONG_MS]);
      const slower = { key, intervalMs: 10 * LONG_MS };
      assertWaits(await reserve(limits, ['a', 'b', 'id1'], slower), [2 * LONG_MS, 12 * LONG_MS, LONG_MS]);
    },
  },
  {
    name: 'an interval or a burst that makes no sense is refused before anything is reserved',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const good = { key: world.id('r'), id: 'a', intervalMs: LONG_MS, burst: 1 };
      const wrong = [{ intervalMs: 0 }, { intervalMs: Number.NaN }, { intervalMs: -1 }, { burst: 0 }, { burst: 0.5 }];
      for (const bad of wrong) {
        await assert.rejects(limits.reserveMany([good, { ...good, ...bad }]), ConfigError);
      }
      assert.deepEqual(await limits.reserveMany([good]), [0]);
    },
  },
  {
    name: 'reservations survive a restart of everything',
    needs: (world) => hasLimits(world) && world.features.durable,
    async check(world) {
      const limit = { key: world.id('r') };
      await reserve(await world.openLimits(), ['a', 'b', 'c'], limit);
      await world.stopAll();
      const again = await world.openLimits();
      assertWaits(await reserve(again, ['d', 'b'], limit), [3 * LONG_MS, LONG_MS]);
    },
  },
];
