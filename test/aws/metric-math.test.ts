/** The policy without a monitor: what its metric math comes to, beside what a monitor would publish of the same moment. */
import { describe, expect, test } from 'vitest';
import { defaultNames } from '../../src/aws/scaling/metric-names.ts';
import { mathTrackingConfig, policyRequests } from '../../src/aws/scaling/policy.ts';
import { metricData } from '../../src/aws/scaling/publish.ts';
import { backlogOf } from '../../src/scaling/backlog.ts';
import { simulate } from '../../src/scaling/simulate.ts';
import type { Sample } from '../../src/scaling/simulation.ts';
import { awsTracking } from '../../src/scaling/tracking.ts';
import { metricMath, returnedValue } from '../support/metric-math.ts';

const where = { cluster: 'work', service: 'mailer' };

/** From zero, through a burst, up to ten tasks, and back to zero. */
const course = simulate({
  arrivals: Array.from({ length: 3_000 }, (_, i) => 100 + i / 5),
  serviceTime: 2,
  spread: 'exponential',
  concurrency: 1,
  policy: { ...awsTracking, target: 50, min: 0, max: 10, scaleOutCooldownMs: 60_000, scaleInCooldownMs: 60_000 },
  metric: 'perTask',
  formula: 'ready',
  fromZero: true,
  initialTasks: 0,
  interval: 60,
  boot: 90,
  protection: true,
  stopTimeout: 30,
  seed: 7,
});

/** How many messages each of some queues has, together as many as in the course. */
function shared(total: number, queues: readonly string[]): number[] {
  const part = Math.floor(total / queues.length);
  return queues.map((_, i) => (i === 0 ? total - part * (queues.length - 1) : part));
}

/** What a monitor publishes. */
function published({ ready, inFlight, running, pending }: Sample, queues: readonly string[]) {
  const waiting = shared(ready, queues);
  const reading = backlogOf({
    at: new Date(0),
    queues,
    depths: waiting.map((count, i) => ({ ready: count, inFlight: i === 0 ? inFlight : 0, delayed: 0, dead: 0 })),
    tasks: { running, pending },
    formula: 'ready',
    runtimes: new Map(),
    concurrency: 1,
  });
  const total = queues.length === 1 ? queues[0] : '*';
  const data = metricData(reading, { names: defaultNames, unserved: true, intervalSeconds: 60 });
  const valueNamed = (name: string) =>
    data.find(({ MetricName, Dimensions }) => MetricName === name && Dimensions?.[0]?.Value === total)?.Value;
  return { perTask: valueNamed('BacklogPerTask'), unserved: valueNamed('UnservedBacklog') };
}

interface Metric {
  readonly Namespace?: string | undefined;
  readonly MetricName?: string | undefined;
  readonly Dimensions?:
    | readonly { readonly Name?: string | undefined; readonly Value?: string | undefined }[]
    | undefined;
}

/** What SQS and Container Insights publish. `silent`: without any task, nothing of the tasks. */
function awsValue({ ready, running, pending }: Sample, queues: readonly string[], silent: boolean) {
  return ({ Namespace, MetricName, Dimensions = [] }: Metric): number | undefined => {
    const named = Object.fromEntries(Dimensions.map(({ Name = '', Value = '' }) => [Name, Value]));
    if (Namespace === 'AWS/SQS' && MetricName === 'ApproximateNumberOfMessagesVisible')
      return shared(ready, queues)[queues.indexOf(named.QueueName ?? '')];
    expect([Namespace, named]).toEqual(['ECS/ContainerInsights', { ClusterName: 'work', ServiceName: 'mailer' }]);
    if (silent && running + pending === 0) return undefined;
    if (MetricName === 'RunningTaskCount') return running;
    if (MetricName === 'PendingTaskCount') return pending;
    return expect.fail(`nobody publishes ${MetricName}`);
  };
}

/** The metrics of both policies as they are sent to AWS. */
function metricsOf(queues: readonly string[]) {
  const tracking = mathTrackingConfig(where, { target: 50, scaleOutCooldown: 60, scaleInCooldown: 60, queues });
  const asked = { ...where, min: 0, max: 10, tracking, queues, names: defaultNames, math: true };
  return {
    tracking: tracking.CustomizedMetricSpecification?.Metrics ?? expect.fail('no metrics'),
    alarm: policyRequests(asked).fromZero?.alarm?.Metrics ?? expect.fail('no alarm'),
  };
}

describe('metric math in place of a monitor', () => {
  test('is looked at in a course that has everything: no task, the first one that starts, many, and none again', () => {
    const { samples, done, messages } = course;
    expect(done).toBe(messages);
    expect(samples.some(({ running, pending, ready }) => running + pending === 0 && ready > 0)).toBe(true);
    expect(samples.some(({ running, pending, ready }) => running === 0 && pending > 0 && ready > 0)).toBe(true);
    expect(Math.max(...samples.map(({ running }) => running))).toBeGreaterThan(3);
    expect(samples.at(-1)).toMatchObject({ running: 0, ready: 0 });
  });

  test.each([
    ['one queue', ['mail']],
    ['seven queues', ['a', 'b', 'c', 'd', 'e', 'f', 'g']],
  ])('comes to what a monitor publishes, at every moment, without any task too: %s', (_, queues) => {
    const { tracking, alarm } = metricsOf(queues);
    for (const sample of course.samples) {
      const { perTask, unserved } = published(sample, queues);
      const value = awsValue(sample, queues, false);
      expect(returnedValue<Metric>(tracking, value)).toBeCloseTo(perTask ?? Number.NaN, 9);
      expect(returnedValue<Metric>(alarm, value)).toBe(unserved);
    }
  });

  test('where Container Insights says nothing without tasks, rings all the same, and the tracking is left without a value', () => {
    const { tracking, alarm } = metricsOf(['mail']);
    for (const sample of course.samples) {
      const { perTask, unserved } = published(sample, ['mail']);
      const value = awsValue(sample, ['mail'], true);
      // Target tracking starts no first task anyway; and a gap must not look like the work of one task.
      const isNone = sample.running + sample.pending === 0;
      expect(returnedValue<Metric>(tracking, value)).toEqual(isNone ? undefined : perTask);
      expect(returnedValue<Metric>(alarm, value)).toBe(unserved);
    }
  });

  test('is refused for more queues than policy and alarm take', () => {
    const queues = Array.from({ length: 8 }, (_, i) => `q${i}`);
    expect(() => metricsOf(queues)).toThrow(/at most 7 queues for a service that may have no task/);
    expect(() => metricsOf([...queues, 'q9'])).toThrow(/at most 8 queues, since a policy takes 10 metrics/);
  });
});

describe('the evaluator of these tests', () => {
  test.each<[string, number | undefined]>([
    ['1 + 2 * 3', 7],
    ['(a + b) / 4', 1.5],
    ['a - b - 1', 1],
    ['a / 0', undefined],
    ['none + 1', undefined],
    ['FILL(none, 0) + 1', 1],
    ['IF(a > b, a, b)', 4],
    ['IF(none > 0, 1, 2)', undefined],
    ['a + b < 7', 1],
  ])('%s', (expression, value) => {
    expect(metricMath(expression, { a: 4, b: 2, none: undefined })).toBe(value);
  });

  test.each(['MAX(a)', 'c', '1 +', 'IF(a)', '1 2', 'a & b'])('does not pretend to understand %s', (expression) => {
    expect(() => metricMath(expression, { a: 4, b: 2 })).toThrow('metric math');
  });
});
