import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { sqsBroker } from '../../../src/brokers/sqs.ts';
import { namedMessage } from '../../../src/testing/message.ts';
import { startSqs } from '../../support/sqs-server.ts';

const never = new AbortController().signal;

test.each([
  ['even', 0],
  ['odd', 1],
])(
  'a queue that was empty is asked again after its pause, also where timers come early (%s calls)',
  async (_, parity) => {
    await using server = await startSqs();
    const queueNamePrefix = `${randomUUID().slice(0, 8)}-`;
    const broker = sqsBroker(server.url, { prioritySteps: [0, 6], queueNamePrefix, createMissing: true });
    await broker.start();
    // Of two looks at the clock one is before the end of a pause, and the other behind it.
    const now = performance.now.bind(performance);
    let looks = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() - (looks++ % 2 === parity ? 2 : 0));
    try {
      await broker.publishMany([{ queue: 'q', message: namedMessage('a') }]);
      const consumer = await broker.consume(['q']);
      const [held] = await consumer.receive(1, 10_000, never);
      assert.ok(held);
      // Now it is empty for a second, and while it pauses the other priority is waited at.
      await broker.extendMany([held], 1000);
      const started = now();
      const again = await consumer.receive(1, 10_000, never);
      expect({ count: again.length, inTime: now() - started < 8000 }).toEqual({ count: 1, inTime: true });
    } finally {
      clock.mockRestore();
      await broker.stop();
    }
  },
);
