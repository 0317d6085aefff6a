import assert from 'node:assert/strict';
import { type BrokerLaw, type BrokerWorld, take } from './broker-world.ts';
import { eventually } from './eventually.ts';
import { idsOf } from './message.ts';

const inProcesses = ({ recipe, features }: BrokerWorld) => recipe !== undefined && features.shared;

/** Several processes on one store. */
export const processLaws: readonly BrokerLaw[] = [
  {
    name: 'three processes get each of 2,000 messages exactly once',
    needs: inProcesses,
    async check(world) {
      const { recipe } = world;
      assert.ok(recipe);
      const broker = await world.open();
      const children = [1, 2, 3].map(() => world.children.start({ role: 'drain', recipe, queue: world.queue() }));
      const ids = Array.from({ length: 2000 }, (_, i) => String(i));
      for (let i = 0; i < ids.length; i += 100) await world.publish(broker, ids.slice(i, i + 100));
      const received = () => children.flatMap(({ reports }) => reports);
      await eventually(() => assert.ok(received().length >= 2000, `${received().length} of 2000`), 20_000);
      for (const child of children) await child.finish();
      assert.deepEqual(
        received()
          .map(Number)
          .sort((a, b) => a - b),
        ids.map(Number),
      );
      await eventually(async () => {
        assert.deepEqual(await broker.countMany([world.queue()]), [{ ready: 0, inFlight: 0, delayed: 0, dead: 0 }]);
      });
    },
  },
  {
    name: 'what a killed process held is delivered again',
    needs: inProcesses,
    async check(world) {
      const { recipe, leaseMs } = world;
      assert.ok(recipe);
      const broker = await world.open();
      await world.publish(broker, ['a', 'b', 'c']);
      const child = world.children.start({ role: 'hold', recipe, queue: world.queue(), count: 3, leaseMs });
      await eventually(() => assert.equal(child.reports.length, 3), 20_000);
      await child.kill();
      const again = await take(await world.consume(broker), 3);
      assert.deepEqual(idsOf(again).sort(), ['a', 'b', 'c']);
      for (const delivery of again) world.assertAttempt(delivery, 2);
    },
  },
  {
    name: 'a process that is asked to end gives back what it holds, and exits by itself',
    needs: inProcesses,
    async check(world) {
      const { recipe } = world;
      assert.ok(recipe);
      const broker = await world.open();
      await world.publish(broker, ['a']);
      const child = world.children.start({ role: 'hold', recipe, queue: world.queue(), leaseMs: 60_000 });
      await eventually(() => assert.deepEqual(child.reports, ['a']), 20_000);
      await child.finish();
      assert.deepEqual(idsOf(await take(await world.consume(broker), 1)), ['a']);
    },
  },
];
