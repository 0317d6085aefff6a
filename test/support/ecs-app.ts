/** The application of the containers that tests start, and of the tests themselves. */
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { streamLogger } from '../../src/app/logger.ts';
import { Lovage } from '../../src/index.ts';

/** Makes it for a place: `broker`, `backend`, a file for notes, and perhaps a store for large payloads. */
export function ecsApp({
  broker = process.env.TEST_BROKER ?? 'memory://ecs',
  backend = process.env.TEST_BACKEND ?? 'memory://ecs',
  notes = process.env.TEST_NOTES ?? '',
  payloads = process.env.TEST_PAYLOADS,
}: {
  broker?: string | undefined;
  backend?: string | undefined;
  notes?: string;
  payloads?: string | undefined;
} = {}) {
  const note = (text: string) => appendFileSync(notes, `${text}\n`);
  const app = new Lovage('ecs', {
    broker,
    backend,
    brokerTransportOptions: {
      createMissing: true,
      visibilityTimeout: Number(process.env.TEST_LEASE ?? 30),
      defaultGroup: 'default',
      // Small enough for what a container can be told.
      ...(payloads && { payloadStore: payloads, payloadThreshold: 4_096 }),
    },
    taskMaxDeliveries: 3,
    logger: process.env.TEST_DEBUG ? streamLogger({ level: 'info' }) : { debug() {}, info() {}, warn() {}, error() {} },
  });
  /** Takes so long, and looks around meanwhile. */
  const work = app.task('ecs.work', { bind: true, queue: 'jobs' }, async (self, name: string, ms: number) => {
    note(`begin ${name} ${self.request.deliveries}`);
    await self.updateState('PROGRESS', { half: true });
    for (let left = ms; left > 0; left -= 20) {
      self.signal.throwIfAborted();
      await sleep(Math.min(20, left));
    }
    note(`end ${name} ${self.request.deliveries}`);
    return `${name} done`;
  });
  /** Ends as a container does that runs out of memory. */
  const crash = app.task('ecs.crash', { queue: 'jobs' }, (name: string) => {
    note(`crash ${name}`);
    process.kill(process.pid, 'SIGKILL');
  });
  const fail = app.task('ecs.fail', { queue: 'jobs' }, (text: string) => {
    throw new Error(text);
  });
  /** Fails once, then succeeds. */
  const flaky = app.task('ecs.flaky', { bind: true, queue: 'jobs' }, (self) => {
    note(`flaky ${self.request.retries}`);
    if (self.request.retries === 0) throw self.retry({ countdown: 0 });
    return self.request.retries;
  });
  /** Comes back once without counting it. */
  const snoozer = app.task('ecs.snoozer', { bind: true, queue: 'jobs' }, async (self) => {
    note('snoozer');
    if ((await self.lastCheckpoint()) === undefined) {
      await self.checkpoint('slept');
      self.snooze(1);
    }
    return self.request.retries;
  });
  /** Is given much. */
  const weigh = app.task('ecs.weigh', { bind: true, queue: 'jobs' }, async (self, data: string, ms: number) => {
    note(`begin ${self.request.deliveries}`);
    for (let left = ms; left > 0; left -= 20) {
      self.signal.throwIfAborted();
      await sleep(Math.min(20, left));
    }
    note(`end ${data.length}`);
    return data.length;
  });
  const ordered = app.task('ecs.ordered', { queue: 'ordered.fifo' }, async (name: string) => {
    note(`begin ${name}`);
    await sleep(200);
    note(`end ${name}`);
  });
  return { app, work, crash, fail, flaky, snoozer, weigh, ordered };
}

export const app = process.env.TEST_BROKER ? ecsApp().app : undefined;
