import { expect, test } from 'vitest';
import { Yard } from '../support/ecs-yard.ts';
import { until } from '../support/workplace.ts';

test('a message becomes an ECS task, which runs it and stores its result; the message is deleted', async () => {
  await using yard = await Yard.open();
  await yard.queue('jobs');
  const result = await yard.tasks.work.delay('one', 0);
  await using _ = yard.poll('jobs', yard.dispatcher());
  expect(await result.get({ timeout: 20 })).toBe('one done');
  expect(yard.notes()).toEqual(['begin one 1', 'end one 1']);
  await until(async () => (await yard.depth('jobs')) === 0);
  const [task] = yard.aws.ecs.tasks.values();
  await until(() => task?.status === 'STOPPED');
  expect(task?.exitCode).toBe(0);
  expect(task?.startedBy).toBe(`lovage/${result.id}/0`);
  expect(yard.thrown).toEqual([]);
});
