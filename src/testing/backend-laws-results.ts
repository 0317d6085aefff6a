import assert from 'node:assert/strict';
import { isFinished, savedGroupKey } from '../contracts/backend.ts';
import { MessageTooLargeError } from '../errors.ts';
import { type BackendLaw, storeAll } from './backend-world.ts';
import { eventually } from './eventually.ts';

const STATES = ['STARTED', 'RETRY', 'PROGRESS', 'SUCCESS', 'FAILURE', 'REVOKED'];

/** SUCCESS is never replaced, and no finished state by an unfinished one. */
function replaces(later: string, earlier: string): boolean {
  return earlier !== 'SUCCESS' && (isFinished(later) || !isFinished(earlier));
}

const PAIRS = STATES.flatMap((earlier) => STATES.map((later) => ({ earlier, later })));

/** Storing and fetching. */
export const resultLaws: readonly BackendLaw[] = [
  {
    name: 'a stored result is fetched, on every connection; an unknown one is undefined',
    async check(world) {
      const [a, b] = [await world.open(), await world.open()];
      const records = [world.record('a', 'SUCCESS'), world.record('b', 'STARTED')];
      await storeAll(a, records);
      const ids = [world.id('b'), world.id('unknown'), world.id('a'), world.id('b')];
      for (const backend of [a, b]) {
        assert.deepEqual(await backend.fetchMany(ids), [records[1], undefined, records[0], records[1]]);
      }
      assert.deepEqual(await a.fetchMany([]), []);
    },
  },
  {
    name: 'documents come back bit for bit, text as text and bytes as bytes',
    async check(world) {
      const backend = await world.open();
      const large = Math.min(world.features.maxDocumentBytes / 2, 1024 * 1024);
      const text = 'Grüße, 世界, 🌿, \u0000, \u2028';
      const records = [
        world.record('empty', 'SUCCESS', null),
        world.record('json', 'SUCCESS', text),
        world.record('yaml', 'SUCCESS', text, 'yaml'),
        world.record('msgpack', 'SUCCESS', text, 'msgpack'),
        world.record(
          'bytes',
          'SUCCESS',
          new Uint8Array(large).map((_, i) => i * 31),
          'msgpack',
        ),
        world.record('large', 'SUCCESS', 'x'.repeat(large)),
        world.record('own state', 'Größe "1"', 1),
      ];
      await storeAll(backend, records);
      const got = await backend.fetchMany(records.map(({ taskId }) => taskId));
      for (const [i, { taskId, state, document }] of records.entries()) {
        const back = got[i]?.document;
        assert.equal(got[i]?.state, state);
        assert.equal(typeof back, typeof document, taskId);
        assert.ok(Buffer.from(back as string).equals(Buffer.from(document as string)), `${taskId} differs`);
      }
    },
  },
  {
    name: 'a result that is final is not replaced by one that is less so',
    async check(world) {
      const backend = await world.open();
      const id = ({ earlier, later }: (typeof PAIRS)[number]) => `${earlier}-${later}`;
      await storeAll(
        backend,
        PAIRS.map((pair) => world.record(id(pair), pair.earlier, 'earlier')),
      );
      await storeAll(
        backend,
        PAIRS.map((pair) => world.record(id(pair), pair.later, 'later')),
      );
      const got = await backend.fetchMany(PAIRS.map((pair) => world.id(id(pair))));
      for (const [i, pair] of PAIRS.entries()) {
        const wins = replaces(pair.later, pair.earlier);
        const wanted = world.record(id(pair), wins ? pair.later : pair.earlier, wins ? 'later' : 'earlier');
        assert.deepEqual(got[i], wanted, `${pair.later} after ${pair.earlier}`);
      }
    },
  },
  {
    name: 'the same law holds between two records of one task in a call',
    async check(world) {
      const backend = await world.open();
      const id = ({ earlier, later }: (typeof PAIRS)[number]) => `${earlier}-${later}`;
      const records = PAIRS.flatMap((pair) => [
        world.record(id(pair), pair.earlier, 'earlier'),
        world.record(id(pair), pair.later, 'later'),
      ]);
      await storeAll(backend, records);
      const got = await backend.fetchMany(PAIRS.map((pair) => world.id(id(pair))));
      for (const [i, pair] of PAIRS.entries()) {
        const wins = replaces(pair.later, pair.earlier);
        const wanted = world.record(id(pair), wins ? pair.later : pair.earlier, wins ? 'later' : 'earlier');
        assert.deepEqual(got[i], wanted, `${pair.later} after ${pair.earlier}`);
      }
    },
  },
  {
    name: 'a batch of 2,500 results is stored and fetched whole',
    async check(world) {
      const backend = await world.open();
      const records = Array.from({ length: 2500 }, (_, i) => world.record(i, 'SUCCESS', String(i)));
      await storeAll(backend, records);
      assert.deepEqual(await backend.fetchMany(records.map(({ taskId }) => taskId)), records);
    },
  },
  {
    name: 'a document that is too large fails alone',
    needs: ({ features }) => features.maxDocumentBytes <= 256 * 1024 * 1024,
    async check(world) {
      const backend = await world.open();
      const large = new Uint8Array(world.features.maxDocumentBytes + 1);
      const records = ['a', 'b', 'c'].map((label) => world.record(label, 'SUCCESS'));
      records[1] = { taskId: world.id('b'), state: 'SUCCESS', document: large };
      const failures = await backend.storeMany(records);
      assert.deepEqual(
        failures.map(({ index }) => index),
        [1],
      );
      assert.ok(failures[0]?.error instanceof MessageTooLargeError);
      const got = await backend.fetchMany(records.map(({ taskId }) => taskId));
      assert.deepEqual(got, [records[0], undefined, records[2]]);
    },
  },
  {
    name: 'a forgotten result is gone, and may come anew',
    async check(world) {
      const backend = await world.open();
      await storeAll(backend, [world.record('a', 'SUCCESS'), world.record('b', 'SUCCESS')]);
      await backend.forgetMany([world.id('a'), world.id('unknown')]);
      assert.deepEqual(await backend.fetchMany([world.id('a'), world.id('b')]), [
        undefined,
        world.record('b', 'SUCCESS'),
      ]);
      await storeAll(backend, [world.record('a', 'STARTED')]);
      assert.deepEqual(await backend.fetchMany([world.id('a')]), [world.record('a', 'STARTED')]);
    },
  },
  {
    name: 'a saved group is kept beside a task of the same id, and may be saved again',
    async check(world) {
      const backend = await world.open();
      const id = world.id('same');
      const saved = (text: string) => ({ taskId: savedGroupKey(id), state: 'GROUP', document: `{"result":"${text}"}` });
      await storeAll(backend, [saved('first'), world.record('same', 'SUCCESS')]);
      await storeAll(backend, [saved('second')]);
      const documents = (await backend.fetchMany([savedGroupKey(id), id])).map((record) => record?.document);
      assert.deepEqual(documents, [saved('second').document, world.record('same', 'SUCCESS').document]);
      await backend.forgetMany([savedGroupKey(id)]);
      assert.deepEqual(await backend.fetchMany([savedGroupKey(id), id]), [undefined, world.record('same', 'SUCCESS')]);
    },
  },
  {
    name: 'a result expires after its time, and others stay',
    async check(world) {
      const backend = await world.open();
      await storeAll(backend, [world.record('short', 'SUCCESS')], 300);
      await storeAll(backend, [world.record('long', 'SUCCESS')], 60_000.5);
      await storeAll(backend, [world.record('ever', 'SUCCESS')]);
      assert.equal((await backend.fetchMany([world.id('short')]))[0]?.state, 'SUCCESS');
      await eventually(async () => assert.deepEqual(await backend.fetchMany([world.id('short')]), [undefined]));
      const others = await backend.fetchMany([world.id('long'), world.id('ever')]);
      assert.deepEqual(
        others.map((record) => record?.state),
        ['SUCCESS', 'SUCCESS'],
      );
      await storeAll(backend, [world.record('short', 'STARTED')]);
      assert.equal((await backend.fetchMany([world.id('short')]))[0]?.state, 'STARTED');
    },
  },
  {
    name: 'results survive a restart of everything',
    needs: ({ features }) => features.durable,
    async check(world) {
      const record = world.record('a', 'SUCCESS');
      await storeAll(await world.open(), [record]);
      await world.stopAll();
      assert.deepEqual(await (await world.open()).fetchMany([record.taskId]), [record]);
    },
  },
  {
    name: 'start and stop may be called again',
    async check(world) {
      const keeper = await world.open();
      const backend = await world.open();
      await Promise.all([backend.start(), backend.start()]);
      await storeAll(backend, [world.record('a', 'SUCCESS')]);
      await Promise.all([backend.stop(), backend.stop()]);
      await assert.rejects(backend.fetchMany([world.id('a')]));
      await backend.start();
      assert.equal((await backend.fetchMany([world.id('a')]))[0]?.state, 'SUCCESS');
      await keeper.stop();
    },
  },
];
