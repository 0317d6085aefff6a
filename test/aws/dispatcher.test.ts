import { describe, expect, test } from 'vitest';
import { Yard } from '../support/ecs-yard.ts';
import { until } from '../support/workplace.ts';

const taskCount = (yard: Yard) => yard.aws.ecs.tasks.size;

describe('a dispatcher', () => {
  test('makes of a message an ECS task, which runs it and stores its result; the message is deleted', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    const result = await yard.tasks.work.delay('one', 0);
    await using _ = yard.poll('jobs', yard.dispatcher());
    expect(await result.get({ timeout: 60 })).toBe('one done');
    expect(yard.notes()).toEqual(['begin one 1', 'end one 1']);
    await until(async () => (await yard.depth('jobs')) === 0);
    const [task] = yard.aws.ecs.tasks.values();
    await until(() => task?.status === 'STOPPED');
    expect(task?.exitCode).toBe(0);
    expect(task?.startedBy).toBe(`lovage/${result.id}/0`);
    expect(yard.thrown).toEqual([]);
  });

  test('tells on the way where a task is: QUEUED, RUNNING, its own progress, SUCCESS', async () => {
    await using yard = await Yard.open({ bootMs: 200 });
    await yard.queue('jobs');
    const result = await yard.tasks.work.delay('seen', 600);
    const states = new Set<string>();
    await using _ = yard.poll('jobs', yard.dispatcher());
    await until(async () => {
      states.add(await result.state);
      return states.has('SUCCESS');
    }, 30_000);
    expect([...states].filter((state) => state !== 'PENDING')).toEqual(
      expect.arrayContaining(['QUEUED', 'PROGRESS', 'SUCCESS']),
    );
  });

  test.each(['claim', 'receipt'] as const)(
    "tells of a task that says nothing itself where it runs, in mode '%s', too",
    async (mode) => {
      await using yard = await Yard.open();
      await yard.queue('jobs');
      const result = await yard.tasks.weigh.delay('x', 800);
      const told = new Map<string, unknown>();
      await using _ = yard.poll('jobs', yard.dispatcher({ mode }));
      await until(async () => {
        const state = await result.state;
        if (!told.has(state)) told.set(state, await result.info);
        return state === 'SUCCESS';
      }, 30_000);
      expect(told.get('RUNNING')).toMatchObject({ hostname: expect.stringMatching(/^ecs@./), attempt: 1 });
      expect([...told.keys()].filter((state) => state !== 'PENDING')).toEqual(['QUEUED', 'RUNNING', 'SUCCESS']);
    },
  );

  test('starts one ECS task for a message that comes twice, at once or late', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    const result = await yard.tasks.work.delay('twice', 300);
    const handler = yard.dispatcher();
    const records = await yard.receive('jobs');
    await Promise.all([yard.invoke(handler, records), yard.invoke(yard.dispatcher(), records)]);
    await until(() => yard.notes().length > 0, 30_000);
    expect(await yard.invoke(handler, records)).toEqual({ batchItemFailures: [] });
    await result.get({ timeout: 60 });
    await until(() => [...yard.aws.ecs.tasks.values()].every(({ status }) => status === 'STOPPED'));
    // Sent twice, too: another message of SQS.
    for (const late of [records.map((record) => ({ ...record, messageId: 'another' })), records])
      expect(await yard.invoke(handler, late)).toEqual({ batchItemFailures: [] });
    expect(taskCount(yard)).toBe(1);
    expect(yard.notes()).toEqual(['begin twice 1', 'end twice 1']);
  });

  test.each([
    ['no capacity', { body: { tasks: [], failures: [{ arn: 'arn:x', reason: 'RESOURCE:MEMORY' }] } }],
    ['throttling', { error: 'ThrottlingException', message: 'Rate exceeded' }],
    [
      'wrapped throttling',
      { error: 'InvalidParameterException', message: 'Unexpected EC2 error: Rate exceeded (ErrorCode: Throttling)' },
    ],
    ['no cluster', { error: 'ClusterNotFoundException', message: 'Cluster not found.' }],
    ['an answer that was lost', { drop: 'after' as const }],
  ])('puts a message back uncounted where RunTask says: %s', async (_, answer) => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    const result = await yard.tasks.work.delay('later', 0);
    const handler = yard.dispatcher();
    const stopFailing = yard.aws.fail({ action: 'RunTask', answer });
    const records = await yard.receive('jobs');
    expect(await yard.invoke(handler, records)).toEqual({ batchItemFailures: [] });
    stopFailing();
    // A copy with a delay: its receives begin anew, so that waiting leads to no dead letters.
    expect(await yard.depth('jobs')).toBe(1);
    expect(await yard.receive('jobs')).toEqual([]);
    expect(await result.state).toBe('QUEUED');
    await yard.invoke(
      handler,
      records.map((record) => ({ ...record, messageId: 'copy', attributes: { ApproximateReceiveCount: '1' } })),
    );
    expect(await result.get({ timeout: 60 })).toBe('later done');
    expect(yard.notes()).toEqual(['begin later 1', 'end later 1']);
    expect(taskCount(yard)).toBe(1);
    expect(yard.thrown).toEqual([]);
  });

  test('sends what it cannot read to the dead letters with the reason, and nothing else with it', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await yard.sendRaw('jobs', '{"que_id": 7}');
    await yard.sendRaw('jobs', 'hello');
    const result = await yard.tasks.work.delay('good', 0);
    await using _ = yard.poll('jobs', yard.dispatcher());
    expect(await result.get({ timeout: 60 })).toBe('good done');
    const { deadLetters } = await yard.app.broker();
    const letters = await until(async () => {
      const found = await deadLetters.list({ queue: 'jobs' });
      return found.length === 2 && found;
    });
    expect(letters.map(({ reason }) => reason).join()).toMatch(/Bad envelope|expected a JSON object/);
    expect(yard.answers.flatMap(({ batchItemFailures }) => batchItemFailures)).toEqual([]);
  });

  test.each([
    ['nothing', undefined],
    ['an event of S3', { Records: [{ eventSource: 'aws:s3', messageId: undefined }] }],
    ['a record with half of what it needs', { Records: [{ messageId: 'm', body: 'x' }] }],
  ])('answers %s without a throw, and has nothing deleted', async (_, event) => {
    await using yard = await Yard.open();
    const named = event?.Records.flatMap(({ messageId }) => (messageId ? [{ itemIdentifier: messageId }] : [])) ?? [];
    expect(await yard.dispatcher()(event)).toEqual({ batchItemFailures: named });
  });

  test('leaves messages where they are while its stores cannot be reached', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await yard.tasks.work.delay('kept', 0);
    const records = await yard.receive('jobs');
    await yard.sqs.server.stop();
    const answer = await yard.dispatcher()({ Records: records });
    expect(answer).toEqual({ batchItemFailures: records.map(({ messageId }) => ({ itemIdentifier: messageId })) });
  });

  test('starts no more than RunTask takes, and puts back what there is no time for', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    for (const name of ['a', 'b', 'c']) await yard.tasks.work.delay(name, 0);
    const records = await yard.receive('jobs');
    expect(records).toHaveLength(3);
    const handler = yard.dispatcher({ runTasksPerSecond: 0.1 });
    const answer = await handler({ Records: records }, { getRemainingTimeInMillis: () => 5_000 });
    expect(answer).toEqual({ batchItemFailures: [] });
    expect(yard.aws.inputs('RunTask')).toHaveLength(1);
    // Two copies wait for their turn, beside the one that Lambda deletes now.
    expect(await yard.depth('jobs')).toBe(3);
  });

  test('parks what is not due yet', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    await yard.tasks.work.delay('now', 0);
    const records = await yard.receive('jobs');
    await yard.tasks.work.applyAsync(['soon', 0], { countdown: 3 });
    await using _ = yard.poll('jobs', yard.dispatcher());
    await yard.invoke(yard.dispatcher(), records);
    await until(() => yard.notes().includes('end soon 1'), 60_000);
    expect(yard.notes().filter((note) => note.startsWith('begin'))).toEqual(['begin now 1', 'begin soon 1']);
  });
});

describe('what a task asks for', () => {
  test('a retry and a snooze are started as ECS tasks of their own', async () => {
    await using yard = await Yard.open();
    await yard.queue('jobs');
    const flaky = await yard.tasks.flaky.delay();
    const snoozer = await yard.tasks.snoozer.delay();
    await using _ = yard.poll('jobs', yard.dispatcher());
    expect(await flaky.get({ timeout: 60 })).toBe(1);
    expect(await snoozer.get({ timeout: 60 })).toBe(0);
    expect(yard.notes().sort()).toEqual(['flaky 0', 'flaky 1', 'snoozer', 'snoozer']);
    expect(taskCount(yard)).toBe(4);
  });
});
