import { expect, test } from 'vitest';
import { resolveConfig } from '../../../src/app/config.ts';
import { Router } from '../../../src/app/sending/router.ts';

test("a task with runOn: 'ecs' goes to the queue of the dispatcher, unless another is named", () => {
  const { config } = resolveConfig({ taskRoutes: { 'mail.*': { queue: 'mail' } } }, {});
  const router = new Router(config);
  const queueOf = (...args: Parameters<Router['route']>) => router.route(...args).queue;
  expect(queueOf('csv.import', {}, { runOn: 'ecs' })).toBe('ecs');
  expect(queueOf('csv.import', {}, {})).toBe('celery');
  expect(queueOf('csv.import', {}, { runOn: 'ecs', queue: 'imports' })).toBe('imports');
  expect(queueOf('csv.import', { queue: 'now' }, { runOn: 'ecs' })).toBe('now');
  expect(queueOf('mail.send', {}, { runOn: 'ecs' })).toBe('mail');
  const other = new Router(resolveConfig({ taskEcsQueue: 'long' }, {}).config);
  expect(other.route('csv.import', {}, { runOn: 'ecs' }).queue).toBe('long');
});
