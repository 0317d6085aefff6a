import { type Json, type Resource, type Resources, ref } from './template-parts.ts';

/** What somebody should be told of: dead letters, and functions that end with errors. */
export function alarms(dead: string): Resources {
  const actions: Json = { 'Fn::If': ['HasAlarmTopic', [ref('AlarmTopic')], ref('AWS::NoValue')] };
  const alarm = (what: string, metric: Readonly<Record<string, Json>>): Resource => ({
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      AlarmDescription: what,
      Period: 60,
      EvaluationPeriods: 1,
      Threshold: 1,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
      AlarmActions: actions,
      ...metric,
    },
  });
  const lambda = (name: string) => ({
    Namespace: 'AWS/Lambda',
    MetricName: 'Errors',
    Statistic: 'Sum',
    Dimensions: [{ Name: 'FunctionName', Value: ref(name) }],
  });
  return {
    DeadLettersAlarm: alarm('Messages were given up: see lovage dlq list', {
      Namespace: 'AWS/SQS',
      MetricName: 'ApproximateNumberOfMessagesVisible',
      Statistic: 'Maximum',
      Dimensions: [{ Name: 'QueueName', Value: dead }],
    }),
    DispatcherAlarm: alarm('The dispatcher ends with errors, which it never should', lambda('Dispatcher')),
    ReconcilerAlarm: alarm('Stopped ECS tasks are not looked after', lambda('Reconciler')),
  };
}
