import assert from 'node:assert/strict';
import type { ItemFailure } from '../contracts/common.ts';
import type { ClaimAnswer, LimitStore } from '../contracts/limits.ts';
import { ConfigError, LeaseLostError } from '../errors.ts';
import type { BackendLaw, BackendWorld } from './backend-world.ts';
import { eventually, passes } from './eventually.ts';

/** Whether the backend keeps claims and rates. */
export const hasLimits = ({ hasLimits }: BackendWorld) => hasLimits;

/** The answer to who gets a claim. */
export const GRANTED: ClaimAnswer = { granted: true };
/** A lease that ends within no law. */
export const LONG_MS = 600_000;
/** A lease that a law waits out. */
const SHORT_MS = 150;

/** Asks for one claim. */
export async function claim(limits: LimitStore, key: string, holder: string, leaseMs = LONG_MS, slots = 1) {
  const [answer] = await limits.claimMany([{ key, holder, leaseMs, slots }]);
  assert.ok(answer);
  return answer;
}

/** Makes sure that a claim was refused because of this holder, and for a time within these bounds. */
function assertRefused(
  answer: ClaimAnswer | undefined,
  holder: string,
  { done = false, above = 0, upTo = LONG_MS }: { done?: boolean; above?: number; upTo?: number } = {},
): void {
  assert.ok(answer && !answer.granted, 'expected a refusal');
  const { waitMs, ...told } = answer;
  assert.deepEqual(told, { granted: false, holder, done });
  assert.ok(waitMs >= 1 && waitMs > above && waitMs <= upTo, `expected ${above} < waitMs <= ${upTo}, got ${waitMs}`);
}

/** Makes sure that these items failed because their claims have ended. */
function assertLost(failures: readonly ItemFailure[], indexes: readonly number[]): void {
  assert.deepEqual(
    failures.map(({ index }) => index),
    indexes,
  );
  for (const { error } of failures) assert.ok(error instanceof LeaseLostError, String(error));
}

/** Claims: who may do something, and for how long. */
export const claimLaws: readonly BackendLaw[] = [
  {
    name: 'a claim has one holder; others are told on every connection who that is and for how long',
    needs: hasLimits,
    async check(world) {
      const [a, b] = [await world.openLimits(), await world.openLimits()];
      assert.deepEqual(await claim(a, world.id('k'), 'first'), GRANTED);
      assertRefused(await claim(b, world.id('k'), 'second'), 'first', { above: LONG_MS / 2 });
      assertRefused(await claim(a, world.id('k'), 'third'), 'first', { above: LONG_MS / 2 });
      assert.deepEqual(await claim(b, world.id('another'), 'second'), GRANTED);
      assert.deepEqual(await a.claimMany([]), []);
    },
  },
  {
    name: 'a holder that asks again has its claim, and renews it',
    needs: hasLimits,
    async check(world) {
      const [a, b] = [await world.openLimits(), await world.openLimits()];
      await claim(a, world.id('k'), 'h');
      assert.deepEqual(await claim(b, world.id('k'), 'h', 10 * LONG_MS), GRANTED);
      assertRefused(await claim(a, world.id('k'), 'other'), 'h', { above: 9 * LONG_MS, upTo: 10 * LONG_MS });
    },
  },
  {
    name: 'exactly one of many who ask at the same time gets the claim',
    needs: hasLimits,
    async check(world) {
      const stores = [await world.openLimits(), await world.openLimits(), await world.openLimits()];
      const holders = Array.from({ length: 30 }, (_, i) => `h${i}`);
      const ask = (holder: string, i: number) => claim(stores[i % 3] as LimitStore, world.id('k'), holder);
      const answers = await Promise.all(holders.map(ask));
      const winners = holders.filter((_, i) => answers[i]?.granted);
      assert.equal(winners.length, 1);
      for (const answer of answers) if (!answer.granted) assert.equal(answer.holder, winners[0]);
    },
  },
  {
    name: 'in a batch with one key several times the first gets it, and answers come in order',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const [k, l] = [world.id('k'), world.id('l')];
      const asked = [
        [k, 'a'],
        [l, 'b'],
        [k, 'b'],
        [l, 'b'],
        [k, 'a'],
      ].map(([key = '', holder = '']) => ({ key, holder, leaseMs: LONG_MS }));
      const answers = await limits.claimMany(asked);
      assert.deepEqual(
        answers.map(({ granted }) => granted),
        [true, true, false, true, true],
      );
      assertRefused(answers[2], 'a', { above: LONG_MS / 2 });
    },
  },
  {
    name: 'a batch of 2,500 claims is granted, renewed and released whole',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const claims = Array.from({ length: 2500 }, (_, i) => ({ key: world.id(i), holder: `h${i % 7}` }));
      const ask = (holder?: string) =>
        limits.claimMany(claims.map((one) => ({ ...one, ...(holder && { holder }), leaseMs: LONG_MS })));
      assert.deepEqual(
        await ask(),
        claims.map(() => GRANTED),
      );
      for (const [i, answer] of (await ask('other')).entries()) assertRefused(answer, `h${i % 7}`);
      assert.deepEqual(await limits.renewMany(claims, LONG_MS), []);
      await limits.releaseMany(claims);
      assert.deepEqual(
        await ask('other'),
        claims.map(() => GRANTED),
      );
    },
  },
  {
    name: 'a claim ends with its lease; who comes back later has lost it, and takes nothing from the next one',
    needs: hasLimits,
    async check(world) {
      const [a, b] = [await world.openLimits(), await world.openLimits()];
      const old = { key: world.id('k'), holder: 'old' };
      await claim(a, old.key, 'old');
      assertRefused(await claim(b, old.key, 'new'), 'old');
      assert.deepEqual(await a.renewMany([old], SHORT_MS), []);
      await eventually(async () => assert.deepEqual(await claim(b, old.key, 'new'), GRANTED));
      assertLost(await a.renewMany([old], LONG_MS), [0]);
      assertLost(await a.finishMany([old], LONG_MS), [0]);
      await a.releaseMany([old]);
      assertRefused(await claim(a, old.key, 'old'), 'new', { above: LONG_MS / 2 });
    },
  },
  {
    name: 'a claim that has ended is not renewed even where nobody else has it; it may be claimed anew',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const old = { key: world.id('k'), holder: 'old' };
      await claim(limits, old.key, old.holder, SHORT_MS);
      await passes(SHORT_MS);
      assertLost(await limits.renewMany([old], LONG_MS), [0]);
      assertLost(await limits.finishMany([old], LONG_MS), [0]);
      assert.deepEqual(await claim(limits, old.key, old.holder), GRANTED);
      assert.deepEqual(await limits.finishMany([old], LONG_MS), []);
    },
  },
  {
    name: 'a renewal counts from now, for the claims that are held; the others fail alone',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const keys = [world.id('a'), world.id('b'), world.id('c')];
      await claim(limits, keys[0] ?? '', 'h', LONG_MS / 10);
      await claim(limits, keys[1] ?? '', 'other', LONG_MS / 10);
      await claim(limits, keys[2] ?? '', 'h', LONG_MS / 10);
      const claims = [...keys, world.id('unknown')].map((key) => ({ key, holder: 'h' }));
      assertLost(await limits.renewMany(claims, LONG_MS), [1, 3]);
      assertRefused(await claim(limits, keys[0] ?? '', 'x'), 'h', { above: LONG_MS / 2 });
      assertRefused(await claim(limits, keys[1] ?? '', 'x'), 'other', { upTo: LONG_MS / 10 });
      assertRefused(await claim(limits, keys[2] ?? '', 'x'), 'h', { above: LONG_MS / 2 });
      await limits.renewMany(claims.slice(0, 1), LONG_MS / 10);
      assertRefused(await claim(limits, keys[0] ?? '', 'x'), 'h', { upTo: LONG_MS / 10 });
    },
  },
  {
    name: 'a released claim is free at once; only its holder can release it',
    needs: hasLimits,
    async check(world) {
      const [a, b] = [await world.openLimits(), await world.openLimits()];
      const key = world.id('k');
      await claim(a, key, 'h');
      await b.releaseMany([
        { key, holder: 'stranger' },
        { key: world.id('unknown'), holder: 'h' },
      ]);
      assertRefused(await claim(b, key, 'next'), 'h', { above: LONG_MS / 2 });
      await b.releaseMany([{ key, holder: 'h' }]);
      assertLost(await a.renewMany([{ key, holder: 'h' }], LONG_MS), [0]);
      assert.deepEqual(await claim(a, key, 'next'), GRANTED);
    },
  },
  {
    name: 'a key with slots has as many holders; the next one is told of the lease that ends first',
    needs: hasLimits,
    async check(world) {
      const [a, b] = [await world.openLimits(), await world.openLimits()];
      const key = world.id('k');
      const ask = (holder: string, leaseMs = LONG_MS, slots = 3) => claim(a, key, holder, leaseMs, slots);
      const answers = [await ask('one', 3 * LONG_MS), await ask('two'), await ask('three', 2 * LONG_MS)];
      assert.deepEqual(answers, [GRANTED, GRANTED, GRANTED]);
      assertRefused(await claim(b, key, 'four', LONG_MS, 3), 'two', { above: LONG_MS / 2 });
      assert.deepEqual(await ask('two', 4 * LONG_MS), GRANTED);
      assertRefused(await ask('four'), 'three', { above: LONG_MS, upTo: 2 * LONG_MS });
      // Fewer slots take nothing from those who have it; more slots let more in.
      assert.deepEqual(await ask('one', 3 * LONG_MS, 1), GRANTED);
      assertRefused(await ask('four', LONG_MS, 1), 'three', { above: LONG_MS, upTo: 2 * LONG_MS });
      assert.deepEqual(await ask('four', 5 * LONG_MS, 4), GRANTED);
      await b.releaseMany([{ key, holder: 'two' }]);
      assertRefused(await ask('five'), 'three', { above: LONG_MS, upTo: 2 * LONG_MS });
      await b.releaseMany([{ key, holder: 'one' }]);
      assert.deepEqual(await ask('five'), GRANTED);
    },
  },
  {
    name: 'each lease of a key with slots ends by itself, and another holder comes in its place',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const key = world.id('k');
      await claim(limits, key, 'long', LONG_MS, 2);
      await claim(limits, key, 'short', SHORT_MS, 2);
      await eventually(async () => assert.deepEqual(await claim(limits, key, 'next', LONG_MS, 2), GRANTED));
      assertLost(await limits.renewMany([{ key, holder: 'short' }], LONG_MS), [0]);
      assertRefused(await claim(limits, key, 'short', LONG_MS, 2), 'long');
    },
  },
  {
    name: 'a finished key is refused as done, to everybody and beyond its lease, until its time is over',
    needs: hasLimits,
    async check(world) {
      const [a, b] = [await world.openLimits(), await world.openLimits()];
      const own = { key: world.id('k'), holder: 'h' };
      await eventually(async () => {
        await claim(a, own.key, 'h', SHORT_MS);
        // On a slow machine the lease may end before; then once more.
        assertLost(await a.finishMany([own], LONG_MS), []);
      });
      await a.releaseMany([own]);
      assertLost(await a.renewMany([own], LONG_MS), [0]);
      await passes(SHORT_MS);
      for (const holder of ['h', 'other']) {
        const answer = await claim(b, own.key, holder, LONG_MS, 5);
        assertRefused(answer, 'h', { done: true, above: LONG_MS / 2 });
      }
      const soon = { key: world.id('soon'), holder: 'h' };
      await claim(a, soon.key, 'h');
      assert.deepEqual(await a.finishMany([soon], SHORT_MS), []);
      await eventually(async () => assert.deepEqual(await claim(b, soon.key, 'other'), GRANTED));
    },
  },
  {
    name: 'only a holder finishes a key, and may do so again; with it the claims of other holders end',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const key = world.id('k');
      for (const holder of ['one', 'two']) await claim(limits, key, holder, LONG_MS, 2);
      const [one, two] = [
        { key, holder: 'one' },
        { key, holder: 'two' },
      ];
      assertLost(await limits.finishMany([{ key, holder: 'stranger' }, one, two], LONG_MS), [0, 2]);
      assert.deepEqual(await limits.finishMany([one], 9 * LONG_MS), []);
      assertLost(await limits.finishMany([two, { key: world.id('unknown'), holder: 'one' }], LONG_MS), [0, 1]);
      assertLost(await limits.renewMany([one, two], LONG_MS), [0, 1]);
      assertRefused(await claim(limits, key, 'three', LONG_MS, 2), 'one', { done: true, above: LONG_MS / 2 });
    },
  },
  {
    name: 'names of any letters are kept apart',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const labels = ['', ' ', 'a', 'a:b', 'a"b', 'a\\b', 'Ä 世界 🌿', 'a\u0000b', 'A', '%s', "a'b"];
      const claims = labels.map((label) => ({ key: world.id(label), holder: `by ${label}` }));
      const asked = claims.map((one) => ({ ...one, leaseMs: LONG_MS }));
      assert.deepEqual(
        await limits.claimMany(asked),
        asked.map(() => GRANTED),
      );
      const answers = await limits.claimMany(asked.map((one) => ({ ...one, holder: 'other' })));
      for (const [i, answer] of answers.entries()) assertRefused(answer, claims[i]?.holder ?? '');
      assert.deepEqual(await limits.finishMany(claims, LONG_MS), []);
    },
  },
  {
    name: 'a time or a number of slots that makes no sense is refused before anything is claimed',
    needs: hasLimits,
    async check(world) {
      const limits = await world.openLimits();
      const good = { key: world.id('k'), holder: 'h', leaseMs: LONG_MS };
      const wrong = [{ leaseMs: 0 }, { leaseMs: Number.NaN }, { leaseMs: -1 }, { leaseMs: Number.POSITIVE_INFINITY }];
      for (const bad of [...wrong, { slots: 0 }, { slots: 1.5 }, { slots: Number.NaN }]) {
        await assert.rejects(limits.claimMany([good, { ...good, ...bad }]), ConfigError);
      }
      assert.deepEqual(await claim(limits, good.key, 'other'), GRANTED);
      const held = [{ key: good.key, holder: 'other' }];
      await assert.rejects(limits.renewMany(held, Number.NaN), ConfigError);
      await assert.rejects(limits.finishMany(held, 0), ConfigError);
    },
  },
  {
    name: 'claims and finished keys survive a restart of everything',
    needs: (world) => hasLimits(world) && world.features.durable,
    async check(world) {
      const limits = await world.openLimits();
      await claim(limits, world.id('held'), 'h');
      await claim(limits, world.id('finished'), 'h');
      await limits.finishMany([{ key: world.id('finished'), holder: 'h' }], LONG_MS);
      await world.stopAll();
      const again = await world.openLimits();
      assertRefused(await claim(again, world.id('held'), 'other'), 'h');
      assertRefused(await claim(again, world.id('finished'), 'other'), 'h', { done: true });
      assert.deepEqual(await again.renewMany([{ key: world.id('held'), holder: 'h' }], LONG_MS), []);
    },
  },
];
