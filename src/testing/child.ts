// A process of its own for the conformance suites: it gets one job by message, opens the driver by its recipe, and
// reports ids or what it was told. It ends when its parent disconnects.
import { once } from 'node:events';
import type { ResultBackend } from '../contracts/backend.ts';
import type { Broker } from '../contracts/broker.ts';
import { encodeResult } from '../wire/result.ts';
import type { ChildJob } from './child-runner.ts';
import { idsOf, namedMessage } from './message.ts';

const parentGone = new AbortController();
process.once('disconnect', () => parentGone.abort());

function report(ids: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send?.(ids, undefined, undefined, () => resolve());
    else resolve();
  });
}

async function drain(broker: Broker, { queue = '', leaseMs = 30_000 }: ChildJob): Promise<void> {
  const consumer = await broker.consume([queue], { leaseMs });
  while (!parentGone.signal.aborted) {
    const deliveries = await consumer.receive(20, 1000, parentGone.signal);
    await consumer.ackMany(deliveries);
    await report(idsOf(deliveries));
  }
}

async function hold(broker: Broker, { queue = '', leaseMs = 30_000, count = 1 }: ChildJob): Promise<void> {
  const consumer = await broker.consume([queue], { leaseMs });
  for (let held = 0; held < count; ) {
    const deliveries = await consumer.receive(count - held, 1000, parentGone.signal);
    held += deliveries.length;
    await report(idsOf(deliveries));
  }
}

async function publish(broker: Broker, { queue = '', count = 1 }: ChildJob): Promise<void> {
  for (let from = 0; from < count; from += 50) {
    const ids = Array.from({ length: Math.min(50, count - from) }, (_, i) => String(from + i));
    await broker.publishMany(ids.map((id) => ({ queue, message: namedMessage(id), groupKey: id })));
    await report(ids);
  }
}

async function store(backend: ResultBackend, { taskIds = [] }: ChildJob): Promise<void> {
  const state = 'SUCCESS';
  const document = (taskId: string) =>
    encodeResult({ taskId, state, result: 'from a child', children: [] }, { serializer: 'json' });
  await backend.storeMany(taskIds.map((taskId) => ({ taskId, state, document: document(taskId) })));
  await report(taskIds);
}

async function toldToGoOn(): Promise<void> {
  await report(['ready']);
  await once(process, 'message');
}

async function claim(backend: ResultBackend, { keys = [], leaseMs = 30_000 }: ChildJob): Promise<void> {
  const holder = `process ${process.pid}`;
  await toldToGoOn();
  for (let from = 0; from < keys.length; from += 10) {
    const asked = keys.slice(from, from + 10);
    const answers = await backend.limits?.claimMany(asked.map((key) => ({ key, holder, leaseMs })));
    await report(asked.filter((_, i) => answers?.[i]?.granted));
  }
  await report(['all asked']);
}

async function reserve(backend: ResultBackend, { keys: [key = ''] = [], intervalMs = 1000, count = 1 }: ChildJob) {
  await toldToGoOn();
  for (let i = 0; i < count; i++) {
    const id = `${process.pid}-${i}`;
    await report((await backend.limits?.reserveMany([{ key, id, intervalMs, burst: 1 }]))?.map(String) ?? []);
  }
  await report(['all asked']);
}

const [job] = (await once(process, 'message')) as [ChildJob];
const module = await import(job.recipe.module);
const driver = module[job.recipe.factory](...job.recipe.args);
await driver.start();
await { drain, hold, publish, store, claim, reserve }[job.role](driver, job);
if (!parentGone.signal.aborted) await once(parentGone.signal, 'abort');
await driver.stop();
