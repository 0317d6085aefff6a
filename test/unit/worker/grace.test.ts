import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/index.ts';
import { graceOf, platformOf } from '../../../src/worker/life/grace.ts';

const ecs = 'http://169.254.170.2/v4/1';
const heroku = { name: 'Heroku', killsAfter: 10 };

describe('the time that a worker has for its end', () => {
  test.each([
    [{}, undefined],
    [{ DYNO: 'worker.1' }, heroku],
    [{ ECS_CONTAINER_METADATA_URI_V4: ecs }, { name: 'ECS', killsAfter: 30 }],
    [
      { ECS_CONTAINER_METADATA_URI_V4: ecs, ECS_CONTAINER_STOP_TIMEOUT: '120' },
      { name: 'ECS', killsAfter: 120 },
    ],
    [
      { ECS_CONTAINER_METADATA_URI_V4: ecs, ECS_CONTAINER_STOP_TIMEOUT: '2m' },
      { name: 'ECS', killsAfter: 120 },
    ],
    [{ ECS_CONTAINER_STOP_TIMEOUT: '120' }, undefined],
  ])('the environment %j tells the platform', (environment, platform) => {
    expect(platformOf(environment)).toEqual(platform);
  });

  test.each(['soon', '0', '-3', '1h'])('ECS_CONTAINER_STOP_TIMEOUT=%s is an error', (text) => {
    const environment = { ECS_CONTAINER_METADATA_URI_V4: ecs, ECS_CONTAINER_STOP_TIMEOUT: text };
    expect(() => platformOf(environment)).toThrow(ConfigError);
    expect(() => platformOf(environment)).toThrow(`expected a time such as 30, 30s or 2m, got '${text}'`);
  });

  test('running tasks get two seconds less than the platform waits, and the process is gone before that', () => {
    expect(graceOf(undefined, heroku)).toMatchObject({ tasksMs: 8000, endMs: 9500 });
    expect(graceOf(undefined, undefined)).toMatchObject({ tasksMs: 8000, endMs: 9500 });
    expect(graceOf(undefined, { name: 'ECS', killsAfter: 30 })).toMatchObject({ tasksMs: 28_000, endMs: 29_500 });
    expect(graceOf(undefined, { name: 'ECS', killsAfter: 2 })).toMatchObject({ tasksMs: 1600, endMs: 1900 });
  });

  test('what somebody has set wins over the platform', () => {
    expect(graceOf(0.1, heroku)).toMatchObject({ tasksMs: 100, endMs: 9500 });
    expect(graceOf(25, heroku)).toMatchObject({ tasksMs: 25_000, endMs: 26_500 });
  });
});
