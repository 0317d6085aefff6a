import { ConfigError } from '../../errors.ts';

/** A dimension of a metric, as CloudWatch writes it. */
export interface Dimension {
  readonly Name: string;
  readonly Value: string;
}

/** How the metrics of a backlog are called. */
export interface MetricNames {
  /** Default: `Lovage`. */
  readonly namespace: string;
  /** Messages for each task. Default: `BacklogPerTask`. */
  readonly metric: string;
  /** Seconds that a message waits. Default: `BacklogSeconds`. */
  readonly secondsMetric: string;
  /** Messages without any task. Default: `UnservedBacklog`. */
  readonly unservedMetric: string;
  /** `%q` stands for the queue. Default: `QueueName=%q`. */
  readonly dimensions: readonly Dimension[];
}

export const defaultNames: MetricNames = {
  namespace: 'Lovage',
  metric: 'BacklogPerTask',
  secondsMetric: 'BacklogSeconds',
  unservedMetric: 'UnservedBacklog',
  dimensions: [{ Name: 'QueueName', Value: '%q' }],
};

const maxDimensions = 30;
const printable = /^[\x20-\x7e]+$/;

/** Reads `Name=Value`. @throws ConfigError */
export function readDimension(text: string): Dimension {
  const [, Name = '', Value = ''] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (Name === '') throw new ConfigError(`dimension: expected Name=Value, such as QueueName=%q, got '${text}'`);
  return { Name, Value };
}

/**
 * The given names with the defaults for the others, where CloudWatch will take them.
 * @throws ConfigError saying which name is wrong and what is allowed
 */
export function checkedNames(
  given: { readonly [Name in keyof MetricNames]?: MetricNames[Name] | undefined },
): MetricNames {
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const names: MetricNames = { ...defaultNames, ...set };
  const { namespace, dimensions } = names;
  check('namespace', namespace, 255, !namespace.startsWith(':'), 'it may not begin with a colon');
  check('namespace', namespace, 255, !namespace.startsWith('AWS/'), 'AWS/ is for metrics of AWS itself');
  for (const name of [names.metric, names.secondsMetric, names.unservedMetric]) check('metric', name, 255);
  if (new Set([names.metric, names.secondsMetric, names.unservedMetric]).size < 3)
    throw new ConfigError('metric names: expected three different ones for backlog, seconds and unserved backlog');
  if (dimensions.length > maxDimensions)
    throw new ConfigError(`dimensions: expected at most ${maxDimensions}, got ${dimensions.length}`);
  for (const { Name, Value } of dimensions) {
    check('dimension name', Name, 255, !Name.startsWith(':'), 'it may not begin with a colon');
    check('dimension value', Value, 1024, Value.trim() !== '', 'it may not be blank');
  }
  if (new Set(dimensions.map(({ Name }) => Name)).size < dimensions.length)
    throw new ConfigError('dimensions: expected each name once');
  return names;
}

/** The dimensions of one queue. */
export function dimensionsOf(names: MetricNames, queue: string): Dimension[] {
  return names.dimensions.map(({ Name, Value }) => ({ Name, Value: Value.replaceAll('%q', queue) }));
}

/** Whether each queue has dimensions of its own. */
export function tellsQueues({ dimensions }: MetricNames): boolean {
  return dimensions.some(({ Value }) => Value.includes('%q'));
}

function check(what: string, name: string, max: number, holds = true, reason = ''): void {
  const where = `${what} ${JSON.stringify(name)}`;
  if (name.length === 0 || name.length > max)
    throw new ConfigError(`${where}: expected 1 to ${max} characters, got ${name.length}`);
  if (!printable.test(name)) throw new ConfigError(`${where}: expected printable ASCII, as CloudWatch takes it`);
  if (!holds) throw new ConfigError(`${where}: ${reason}`);
}
