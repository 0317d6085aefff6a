import assert from 'node:assert/strict';
import type { Broker } from '../contracts/broker.ts';
import type { Bus } from '../contracts/bus.ts';
import type { BrokerLaw, BrokerWorld } from './broker-world.ts';
import { eventually } from './eventually.ts';

const hasBus = ({ hasBus }: BrokerWorld) => hasBus;

function busOf(broker: Broker): Bus {
  assert.ok(broker.bus);
  return broker.bus;
}

/** Sends one text a note. */
function emit(broker: Broker, topic: string, ...texts: string[]): Promise<void> {
  return busOf(broker).emitMany(
    topic,
    texts.map((text) => new TextEncoder().encode(text)),
  );
}

/** Collects what a connection hears as `topic: text`. */
async function hear(broker: Broker, topic: string): Promise<{ heard: string[]; stop: () => Promise<void> }> {
  const heard: string[] = [];
  const stop = await busOf(broker).listen(topic, (payloads, from) => {
    for (const payload of payloads) heard.push(`${from}: ${new TextDecoder().decode(payload)}`);
  });
  return { heard, stop };
}

/** Notes to everybody. */
export const busLaws: readonly BrokerLaw[] = [
  {
    name: 'a note reaches all present listeners on all connections, in order',
    needs: hasBus,
    async check(world) {
      const [a, b] = [await world.open(), await world.open()];
      const topic = world.queue('topic');
      const listeners = [await hear(a, topic), await hear(b, topic), await hear(b, topic)];
      const texts = Array.from({ length: 300 }, (_, i) => String(i));
      for (let i = 0; i < 300; i += 50) await emit(i % 100 === 0 ? a : b, topic, ...texts.slice(i, i + 50));
      const wanted = texts.map((text) => `${topic}: ${text}`);
      for (const { heard } of listeners) await eventually(() => assert.deepEqual(heard, wanted));
    },
  },
  {
    name: 'notes arrive bit for bit',
    needs: hasBus,
    async check(world) {
      const broker = await world.open();
      const payloads = [
        new Uint8Array(0),
        Uint8Array.from({ length: 256 }, (_, i) => i),
        new Uint8Array(100_000).fill(7),
      ];
      const heard: Uint8Array[] = [];
      await busOf(broker).listen(world.queue('topic'), (got) => void heard.push(...got));
      await busOf(broker).emitMany(world.queue('topic'), payloads);
      await eventually(() => assert.equal(heard.length, 3));
      for (const [i, payload] of payloads.entries()) assert.ok(Buffer.from(payload).equals(heard[i] ?? Buffer.of(1)));
    },
  },
  {
    name: 'a topic that ends in * hears all with that beginning, and no other hears what it did not ask for',
    needs: hasBus,
    async check(world) {
      const [a, b] = [await world.open(), await world.open()];
      const topic = world.queue('topic');
      const prefix = await hear(b, `${topic}.task-*`);
      const exact = await hear(b, `${topic}.task-sent`);
      await emit(a, `${topic}.worker`, 'no');
      await emit(a, `${topic}.task-sent`, '1');
      await emit(a, `${topic}.task-done`, '2');
      await emit(a, `${topic}.task-`, '3');
      await eventually(() =>
        assert.deepEqual(prefix.heard, [`${topic}.task-sent: 1`, `${topic}.task-done: 2`, `${topic}.task-: 3`]),
      );
      assert.deepEqual(exact.heard, [`${topic}.task-sent: 1`]);
    },
  },
  {
    name: 'notes are not kept for those who come later',
    needs: hasBus,
    async check(world) {
      const broker = await world.open();
      const topic = world.queue('topic');
      const early = await hear(broker, topic);
      await emit(broker, topic, 'before');
      const late = await hear(await world.open(), topic);
      const lateHere = await hear(broker, topic);
      await emit(broker, topic, 'after');
      const both = [`${topic}: before`, `${topic}: after`];
      await eventually(() => assert.deepEqual(early.heard, both));
      await eventually(() => assert.deepEqual(late.heard, both.slice(1)));
      await eventually(() => assert.deepEqual(lateHere.heard, both.slice(1)));
    },
  },
  {
    name: 'who stops listening hears nothing more, the others do',
    needs: hasBus,
    async check(world) {
      const broker = await world.open();
      const topic = world.queue('topic');
      const [stopped, other] = [await hear(broker, topic), await hear(broker, topic)];
      await emit(broker, topic, '1');
      await eventually(() => assert.equal(stopped.heard.length, 1));
      await stopped.stop();
      await stopped.stop();
      await emit(await world.open(), topic, '2');
      await eventually(() => assert.equal(other.heard.length, 2));
      assert.equal(stopped.heard.length, 1);
    },
  },
];
