import { type AwsPlace, cloudwatchService, scalingService } from '../clients.ts';
import type { PolicyRequests } from './policy.ts';

/**
 * Asks AWS for what {@link PolicyRequests} say, in order. All of it may be repeated: what is there under the same name is
 * replaced. Needs `application-autoscaling:RegisterScalableTarget` and `PutScalingPolicy`, and for a service that may have
 * no task `cloudwatch:PutMetricAlarm`. Resolves with the ARNs of the policies.
 */
export async function applyPolicy(requests: PolicyRequests, place: AwsPlace = {}): Promise<string[]> {
  const scaling = scalingService(place, 'scaling policies');
  const cloudwatch = cloudwatchService(place, 'the alarm that starts the first task');
  const on = requests.register.ResourceId ?? '';
  try {
    const { RegisterScalableTargetCommand, PutScalingPolicyCommand } = await scaling.sdk();
    const put = async (policy: PolicyRequests['tracking']) => {
      const { PolicyARN = '' } = await scaling.send(
        { action: 'application-autoscaling:PutScalingPolicy', on },
        (client) => client.send(new PutScalingPolicyCommand(policy)),
      );
      return PolicyARN;
    };
    await scaling.send({ action: 'application-autoscaling:RegisterScalableTarget', on }, (client) =>
      client.send(new RegisterScalableTargetCommand(requests.register)),
    );
    const tracking = await put(requests.tracking);
    if (!requests.fromZero) return [tracking];
    const { PutMetricAlarmCommand } = await cloudwatch.sdk();
    const first = await put(requests.fromZero.policy);
    const alarm = { ...requests.fromZero.alarm, AlarmActions: [first] } as typeof requests.fromZero.alarm;
    await cloudwatch.send({ action: 'cloudwatch:PutMetricAlarm', on: `alarm ${alarm?.AlarmName}` }, (client) =>
      client.send(new PutMetricAlarmCommand(alarm)),
    );
    return [tracking, first];
  } finally {
    scaling.close();
    cloudwatch.close();
  }
}
