import { afterEach, expect, test, vi } from 'vitest';
import { ecsReconciler } from '../../src/aws/index.ts';
import { ClaimErrand } from '../../src/aws/job/claim-errand.ts';
import { type EcsJob, holderOf, Jobs, packMessage } from '../../src/aws/job/jobs.ts';
import { openHands } from '../../src/aws/job/sqs-hands.ts';
import { Lovage } from '../../src/index.ts';
import { encodeTask } from '../../src/wire/protocol.ts';

afterEach(() => void vi.useRealTimers());

test('a job of 30 hours is under way all the time, and ends once', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  await using app = new Lovage('long', {
    broker: 'sqs://test:test@127.0.0.1:1//?is_secure=false',
    backend: 'memory://long',
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  const hands = await openHands(app.config);
  const { broker, results } = await app.connections();
  const jobs = new Jobs(results);
  const call = app.preparer.call('csv.import', ['a'], { taskId: 'long' }, undefined);
  const message = encodeTask(call.message, { serializer: 'json' });
  const job: EcsJob = {
    id: 'long',
    taskId: 'long',
    task: 'csv.import',
    queue: 'ecs',
    message: packMessage(message),
    state: 'running',
    start: 0,
    origin: 'm',
    attempts: 1,
    failedStarts: 0,
  };
  const leaseMs = 120_000;
  await jobs.list([job.id]);
  await jobs.save(job);
  const parts = { jobs, hands, broker, results, leaseMs };
  const errand = new ClaimErrand(parts, job, { holder: holderOf(job), message });
  await errand.renew();
  const sweep = ecsReconciler(app);
  const end = Date.now() + 30 * 3_600_000;
  for (let i = 0; Date.now() < end; i++) {
    vi.setSystemTime(Date.now() + leaseMs / 3);
    await errand.renew();
    // Every ten minutes, through more than a day of lists.
    if (i % 15 === 0) expect(await sweep()).toEqual({ alive: 1, again: [], failed: [], revoked: [] });
  }
  await errand.ack();
  expect(await sweep()).toEqual({ alive: 0, again: [], failed: [], revoked: [] });
  expect(await jobs.claim(job.id, 'somebody', leaseMs)).toMatchObject({ granted: false, done: true });
  expect(await jobs.fetch(job.id)).toBeUndefined();
  await hands.close();
});
