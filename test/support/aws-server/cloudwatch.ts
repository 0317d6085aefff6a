/** CloudWatch of the test server: keeps datapoints and alarms, and refuses what is documented to be refused. */
import type * as CloudWatch from '@aws-sdk/client-cloudwatch';
import { AwsRefusal } from './faults.ts';
import type { Actions } from './server.ts';

/** One value of a metric. */
export interface Datapoint {
  readonly namespace: string;
  readonly name: string;
  /** Sorted by name. */
  readonly dimensions: Readonly<Record<string, string>>;
  readonly unit: string | undefined;
  readonly value: number;
  /** When it came, in epoch milliseconds. */
  readonly at: number;
}

const twoWeeksMs = 14 * 86_400_000;
const twoHoursMs = 2 * 3_600_000;

export class TestCloudWatch {
  readonly datapoints: Datapoint[] = [];
  readonly alarms = new Map<string, CloudWatch.PutMetricAlarmInput>();

  readonly actions: Actions = {
    PutMetricData: ({ Namespace = '', MetricData = [] }: CloudWatch.PutMetricDataInput) => {
      checkNamespace(Namespace);
      if (MetricData.length === 0) throw missing('The parameter MetricData is required.');
      if (MetricData.length > 1000) throw invalid('MetricData can have at most 1000 items');
      if (JSON.stringify(MetricData).length > 1_000_000) throw invalid('The request is larger than 1 MB');
      for (const datum of MetricData) checkDatum(datum);
      for (const datum of MetricData) this.datapoints.push(...pointsOf(Namespace, datum));
      return {};
    },
    PutMetricAlarm: (input: CloudWatch.PutMetricAlarmInput) => {
      checkAlarm(input);
      this.alarms.set(input.AlarmName ?? '', input);
      return {};
    },
    DeleteAlarms: ({ AlarmNames = [] }: CloudWatch.DeleteAlarmsInput) => {
      for (const name of AlarmNames) this.alarms.delete(name);
      return {};
    },
    DescribeAlarms: ({ AlarmNames }: CloudWatch.DescribeAlarmsInput) => ({
      MetricAlarms: [...this.alarms.values()].filter(({ AlarmName = '' }) => AlarmNames?.includes(AlarmName) ?? true),
    }),
  };

  /** The values of one metric, oldest first. */
  values(namespace: string, name: string, dimensions?: Readonly<Record<string, string>>): Datapoint[] {
    const wanted = dimensions && JSON.stringify(sorted(Object.entries(dimensions)));
    return this.datapoints.filter(
      (point) =>
        point.namespace === namespace &&
        point.name === name &&
        (wanted === undefined || JSON.stringify(point.dimensions) === wanted),
    );
  }
}

/** Dimensions as an object, in one order. */
export function sorted(entries: readonly (readonly [string, string])[]): Record<string, string> {
  return Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function pointsOf(namespace: string, datum: CloudWatch.MetricDatum): Datapoint[] {
  const dimensions = sorted((datum.Dimensions ?? []).map(({ Name = '', Value = '' }) => [Name, Value]));
  const at = Date.now();
  const point = { namespace, name: datum.MetricName ?? '', dimensions, unit: datum.Unit, at };
  const values = datum.Values ?? (datum.Value === undefined ? [] : [datum.Value]);
  return values.map((value) => ({ ...point, value }));
}

function checkNamespace(namespace: string): void {
  if (namespace.length < 1 || namespace.length > 255 || namespace.startsWith(':'))
    throw invalid('The parameter Namespace must have 1 to 255 characters, and begin with no colon');
  if (namespace.startsWith('AWS/')) throw invalid('The value AWS/ for parameter Namespace is invalid.');
}

function checkDatum({
  MetricName = '',
  Dimensions = [],
  Value,
  Values,
  Counts,
  StatisticValues,
  Timestamp,
  StorageResolution,
}: CloudWatch.MetricDatum): void {
  if (MetricName.length < 1 || MetricName.length > 255) throw invalid('MetricName must have 1 to 255 characters');
  checkDimensions(Dimensions);
  const given = [Value, Values, StatisticValues].filter((one) => one !== undefined).length;
  if (given !== 1)
    throw new AwsRefusal('InvalidParameterCombinationException', 'give one of Value, Values, StatisticValues');
  if ((Values?.length ?? 0) > 150) throw invalid('Values can have at most 150 items');
  if (Counts && Counts.length !== Values?.length) throw invalid('Counts must have as many items as Values');
  // On the wire, NaN and infinity are texts.
  for (const value of Values ?? (Value === undefined ? [] : [Value]))
    if (typeof value !== 'number' || Math.abs(value) > 2 ** 360) throw invalid(`The value ${value} is invalid.`);
  if (StorageResolution !== undefined && ![1, 60].includes(StorageResolution))
    throw invalid('StorageResolution must be 1 or 60');
  if (Timestamp !== undefined) {
    const ahead = Number(Timestamp) * 1000 - Date.now();
    if (ahead > twoHoursMs || ahead < -twoWeeksMs) throw invalid('The timestamp is too far from now');
  }
}

function checkDimensions(dimensions: readonly CloudWatch.Dimension[]): void {
  if (dimensions.length > 30) throw invalid('at most 30 dimensions');
  for (const { Name = '', Value = '' } of dimensions) {
    if (!/^[\x20-\x39\x3b-\x7e][\x20-\x7e]{0,254}$/.test(Name))
      throw invalid(`the dimension name '${Name}' is invalid`);
    if (!/^[\x20-\x7e]{1,1024}$/.test(Value) || Value.trim() === '')
      throw invalid(`the dimension value '${Value}' is invalid`);
  }
}

const operators = [
  'GreaterThanOrEqualToThreshold',
  'GreaterThanThreshold',
  'LessThanThreshold',
  'LessThanOrEqualToThreshold',
];

function checkAlarm(input: CloudWatch.PutMetricAlarmInput): void {
  const { AlarmName = '', MetricName, Metrics, Period = 60, EvaluationPeriods, Threshold, ComparisonOperator } = input;
  const { DatapointsToAlarm, TreatMissingData, Dimensions = [], AlarmActions = [] } = input;
  if (AlarmName.length < 1 || AlarmName.length > 255) throw invalid('AlarmName must have 1 to 255 characters');
  if ((MetricName === undefined) === (Metrics === undefined)) throw invalid('give MetricName or Metrics');
  if (!operators.includes(ComparisonOperator ?? '')) throw invalid(`ComparisonOperator ${ComparisonOperator}`);
  if (EvaluationPeriods === undefined || EvaluationPeriods < 1) throw missing('EvaluationPeriods');
  if (DatapointsToAlarm !== undefined && DatapointsToAlarm > EvaluationPeriods) throw invalid('DatapointsToAlarm');
  if (Threshold === undefined) throw missing('Threshold');
  if (![10, 20, 30].includes(Period) && Period % 60 !== 0)
    throw invalid('Period must be 10, 20, 30 or a multiple of 60');
  if (!['breaching', 'notBreaching', 'ignore', 'missing', undefined].includes(TreatMissingData))
    throw invalid('TreatMissingData');
  if (AlarmActions.length > 5) throw invalid('at most 5 AlarmActions');
  checkDimensions(Dimensions);
}

function invalid(message: string): AwsRefusal {
  return new AwsRefusal('InvalidParameterValueException', message);
}

function missing(message: string): AwsRefusal {
  return new AwsRefusal('MissingRequiredParameterException', message);
}
