import { setTimeout as sleep } from 'node:timers/promises';
import { type RedisProbe, total } from './redis-probe.ts';
import type { Stage } from './stage.ts';
import { countTrips } from './trips.ts';

const QUEUE = 'celery';
const LOOK_MS = 20;

/** How a stage is opened for it. */
export type OpenCounted = (options?: { counting?: boolean }) => Promise<Stage>;

/**
 * What `n` queued no-op tasks cost a Redis, per task: for their sender, and for the worker that does them (its start
 * included). In two runs, for who listens to what is sent disturbs what is executed and kept.
 */
export async function redisWork(open: OpenCounted, n: number): Promise<Record<string, number>> {
  const { bytes, senderExecuted, workerExecuted } = await executedFor(open, n);
  const sent = await sentFor(open, n);
  const all = { senderExecuted, workerExecuted, ...sent };
  const perTask = Object.entries(all).map(([name, count]): [string, number] => [name, count / n]);
  return { ...Object.fromEntries(perTask), bytes: bytes / n };
}

async function executedFor(open: OpenCounted, n: number) {
  await using stage = await open();
  const probe = probeOf(stage);
  const empty = await probe.bytes();
  const before = await probe.mark();
  await enqueue(stage, n);
  const queued = await probe.mark();
  const full = await probe.bytes();
  await stage.work();
  await drained(probe);
  const after = await probe.mark();
  await checkDone(stage, n);
  return {
    bytes: full - empty,
    senderExecuted: total(queued.executed) - total(before.executed),
    workerExecuted: total(after.executed) - total(queued.executed),
  };
}

async function sentFor(open: OpenCounted, n: number) {
  await using stage = await open({ counting: true });
  const probe = probeOf(stage);
  const trips = countTrips();
  const sending = await probe.listen();
  const tripsBefore = trips();
  await enqueue(stage, n);
  const senderTrips = trips() - tripsBefore;
  const { sent: bySender } = await sending();
  const working = await probe.listen();
  const worker = await stage.work();
  await drained(probe);
  const { sent: byWorker } = await working();
  const { trips: workerTrips } = await worker.usage();
  await checkDone(stage, n);
  return { senderSent: total(bySender), senderTrips, workerSent: total(byWorker), workerTrips };
}

function enqueue(stage: Stage, n: number): Promise<void> {
  return stage.client.enqueue('noop', (i) => i, n);
}

/** The sender asks nothing meanwhile, so that all that Redis does is done for the worker. */
async function drained(probe: RedisProbe): Promise<void> {
  while (!(await probe.isDrained(QUEUE))) await sleep(LOOK_MS);
}

/** What was executed counts only where each task was. */
async function checkDone({ client }: Stage, n: number): Promise<void> {
  const done = await client.countDone();
  if (done !== n) throw new Error(`${n} tasks were sent and ${done} have a result`);
}

function probeOf({ probe }: Stage): RedisProbe {
  if (!probe) throw new Error('this is measured on Redis only');
  return probe;
}
