import { describe, expect, test } from 'vitest';
import { ecsReconciler } from '../../src/aws/index.ts';
import { WorkerLostError } from '../../src/errors.ts';
import { startDynamodb } from '../support/dynamodb-server.ts';
import { Yard } from '../support/ecs-yard.ts';
import { until } from '../support/workplace.ts';

const running = (yard: Yard, name: string, run = 1) =>
  until(() => yard.notes().includes(`begin ${name} ${run}`), 60_000);
const latest = (yard: Yard) => [...yard.aws.ecs.tasks.values()].at(-1) ?? expect.fail('there is no ECS task');

describe('a job whose ECS task ends before it', () => {
  test('by SIGKILL runs again, and the runs are counted', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await using _ = yard.poll('jobs', yard.dispatcher());
    await using _events = yard.reconcile();
    const result = await yard.tasks.work.delay('killed', 1_000);
    await running(yard, 'killed');
    yard.aws.ecs.killTask(latest(yard).arn, 'EssentialContainerExited', 'Essential container in task exited');
    expect(await result.get({ timeout: 60 })).toBe('killed done');
    expect(yard.notes()).toEqual(['begin killed 1', 'begin killed 2', 'end killed 2']);
    expect(yard.thrown).toEqual([]);
  });

  test('again and again, for lack of memory, fails with that reason, and is a dead letter', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await using _ = yard.poll('jobs', yard.dispatcher());
    await using _events = yard.reconcile();
    const result = await yard.tasks.crash.delay('hungry');
    const error = await result.get({ timeout: 60 }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(WorkerLostError);
    expect(error.message).toMatch(/its container died 3 times \(limit 3\).*exited with 137 \(SIGKILL: out of memory/);
    expect(yard.notes()).toEqual(['crash hungry', 'crash hungry', 'crash hungry']);
    const { deadLetters } = await yard.app.broker();
    const [letter] = await until(async () => {
      const found = await deadLetters.list({ queue: 'jobs' });
      return found.length === 1 && found;
    });
    expect(letter?.reason).toContain('exited with 137');
    // Put back from there, it is a new job.
    await deadLetters.retryMany([letter?.id ?? '']);
    await until(() => yard.notes().length > 3, 60_000);
  });

  test('by the end of a Spot instance runs again, free of charge', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await using _ = yard.poll('jobs', yard.dispatcher());
    await using _events = yard.reconcile();
    const result = await yard.tasks.work.delay('spot', 700);
    for (let i = 0; i < 4; i++) {
      await until(() => yard.notes().filter((note) => note === 'begin spot 1').length === i + 1, 60_000);
      if (i < 3) yard.aws.ecs.killTask(latest(yard).arn, 'SpotInterruption', 'Your Spot Task was interrupted.');
    }
    expect(await result.get({ timeout: 60 })).toBe('spot done');
    expect(new Set(yard.notes())).toEqual(new Set(['begin spot 1', 'end spot 1']));
  });

  test('by SIGTERM is given back within stopTimeout, and runs again, free of charge', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await using _ = yard.poll('jobs', yard.dispatcher());
    await using _events = yard.reconcile();
    const result = await yard.tasks.work.delay('term', 60_000);
    await running(yard, 'term');
    const first = latest(yard);
    await yard.aws.ecs.stopTask(first, 'TerminationNotice', 'host maintenance');
    expect(first.exitCode).toBe(1);
    await until(() => yard.notes().filter((note) => note === 'begin term 1').length === 2, 60_000);
    expect(await result.state).not.toBe('FAILURE');
  });

  test('because somebody stopped it is revoked', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await using _ = yard.poll('jobs', yard.dispatcher());
    await using _events = yard.reconcile();
    const result = await yard.tasks.work.delay('unwanted', 60_000);
    await running(yard, 'unwanted');
    await yard.aws.ecs.stopTask(latest(yard), 'UserInitiated', 'stopped by hand');
    await until(async () => (await result.state) === 'REVOKED', 80_000);
  });

  test('is revoked, too, where the stop is heard of when it has been started again', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await using _ = yard.poll('jobs', yard.dispatcher());
    await using events = yard.reconcile();
    const result = await yard.tasks.work.delay('again', 60_000);
    await running(yard, 'again');
    yard.aws.ecs.killTask(latest(yard).arn, 'SpotInterruption', 'Your Spot Task was interrupted.');
    await until(() => yard.notes().length === 2, 60_000);
    await events.handler({
      source: 'aws.ecs',
      'detail-type': 'ECS Task State Change',
      detail: { lastStatus: 'STOPPED', stopCode: 'UserInitiated', startedBy: `lovage/${result.id}/0` },
    });
    expect(await result.state).toBe('REVOKED');
    await until(() => latest(yard).status === 'STOPPED', 80_000);
    expect(yard.notes()).toEqual(['begin again 1', 'begin again 1']);
  });

  test('before it began is started again, and fails when that goes on', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    yard.aws.ecs.registerTaskDefinition({
      family: 'broken',
      awsvpc: true,
      container: { name: 'app', command: ['/no/such/program'] },
    });
    await using _ = yard.poll('jobs', yard.dispatcher({ taskDefinition: 'broken' }));
    await using _events = yard.reconcile({ maxFailedStarts: 1 });
    const linkError = yard.tasks.fail.s().set({ queue: 'errands' });
    const result = await yard.tasks.work.applyAsync(['never', 0], { linkError });
    const error = await result.get({ timeout: 60 }).catch((thrown) => thrown);
    expect(error.message).toMatch(/failed to start 1 times; the last time: .*exited with 127/);
    // What follows its failure goes to whatever queue it belongs to: the reconciler has to be allowed that.
    await until(async () => (await yard.depth('errands')) === 1);
    expect(yard.notes()).toEqual([]);
  });

  test('and no event tells of it: a sweep finds out when its lease has ended', async () => {
    await using yard = await Yard.open({ lease: 3 });
    await yard.queue('jobs');
    await using _ = yard.poll('jobs', yard.dispatcher());
    const handler = ecsReconciler(yard.app);
    const result = await yard.tasks.work.delay('lost', 2_000);
    await running(yard, 'lost');
    expect((await handler()).alive).toBe(1);
    yard.aws.ecs.killTask(latest(yard).arn);
    const done = await until(async () => {
      const { again } = await handler();
      return again.length > 0 && again;
    }, 30_000);
    expect(done).toEqual([result.id]);
    expect(await result.get({ timeout: 60 })).toBe('lost done');
    await until(async () => (await handler()).alive === 0);
    expect(await handler()).toEqual({ alive: 0, again: [], failed: [], revoked: [] });
  });
});

test('jobs are kept in DynamoDB as well as anywhere', async () => {
  await using dynamodb = await startDynamodb();
  await using yard = await Yard.open({ lease: 10, backend: await dynamodb.makeTable('jobs') });
  await yard.queue('jobs');
  await using _ = yard.poll('jobs', yard.dispatcher());
  await using events = yard.reconcile();
  const result = await yard.tasks.work.delay('kept', 500);
  await running(yard, 'kept');
  yard.aws.ecs.killTask(latest(yard).arn, 'EssentialContainerExited', 'Essential container in task exited');
  expect(await result.get({ timeout: 60 })).toBe('kept done');
  expect(yard.notes()).toEqual(['begin kept 1', 'begin kept 2', 'end kept 2']);
  await until(async () => (await events.sweep()).alive === 0);
  expect(yard.thrown).toEqual([]);
});

test('events that come twice, late, or of other tasks change nothing', async () => {
  await using yard = await Yard.open();
  await yard.queue('jobs');
  const result = await yard.tasks.work.delay('calm', 1_500);
  await using _ = yard.poll('jobs', yard.dispatcher());
  const events: unknown[] = [];
  yard.aws.ecs.onTaskStateChange((event) => events.push(event));
  const handler = ecsReconciler(yard.app);
  await running(yard, 'calm');
  const [first] = events as { detail: object }[];
  const stopped = (startedBy: string | undefined) => ({
    ...first,
    detail: { lastStatus: 'STOPPED', stopCode: 'EssentialContainerExited', startedBy },
  });
  const nothing = { alive: 0, again: [], failed: [], revoked: [] };
  for (const by of [undefined, 'ecs-svc/web', 'lovage/unknown/0', `lovage/${result.id}/7`])
    expect(await handler(stopped(by))).toEqual(nothing);
  expect(await result.get({ timeout: 60 })).toBe('calm done');
  await until(() => latest(yard).status === 'STOPPED');
  for (const event of [...events, ...events]) expect(await handler(event)).toEqual(nothing);
  expect(yard.notes()).toEqual(['begin calm 1', 'end calm 1']);
});
