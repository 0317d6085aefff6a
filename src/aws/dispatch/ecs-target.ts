import { ConfigError, StoreMissingError } from '../../errors.ts';
import type { ScalingTarget } from '../../scaling/target.ts';
import { type AwsPlace, ecsService } from '../clients.ts';

/** A service of ECS. */
export interface EcsServiceName {
  /** Name or ARN of its cluster. */
  readonly cluster: string;
  /** Name or ARN. */
  readonly service: string;
}

/**
 * A service of ECS as what follows a backlog: counted with DescribeServices, scaled with UpdateService. Needs
 * `ecs:DescribeServices`, and `ecs:UpdateService` where it scales.
 */
export function ecsTarget({ cluster, service }: EcsServiceName, place: AwsPlace = {}): ScalingTarget {
  if (!cluster || !service)
    throw new ConfigError('the provider ecs needs a cluster and a service: --cluster work --service mailer');
  const ecs = ecsService(place, 'the provider ecs');
  const name = `ecs service ${lastPart(cluster)}/${lastPart(service)}`;
  return {
    name,
    async counts(abortSignal) {
      const { DescribeServicesCommand } = await ecs.sdk();
      const { services = [], failures = [] } = await ecs.send({ action: 'ecs:DescribeServices', on: name }, (client) =>
        client.send(new DescribeServicesCommand({ cluster, services: [service] }), { abortSignal }),
      );
      const [found] = services;
      if (found?.status !== 'ACTIVE' || found.runningCount === undefined) {
        const reason = failures[0]?.reason ?? found?.status ?? 'not listed';
        throw new StoreMissingError(`${name} does not exist (${reason}): is it in this region and account?`);
      }
      const { runningCount: running, pendingCount: pending = 0, desiredCount } = found;
      return { running, pending, ...(desiredCount !== undefined && { desired: desiredCount }) };
    },
    async setDesired(desiredCount, abortSignal) {
      const { UpdateServiceCommand } = await ecs.sdk();
      await ecs.send({ action: 'ecs:UpdateService', on: name }, (client) =>
        client.send(new UpdateServiceCommand({ cluster, service, desiredCount }), { abortSignal }),
      );
    },
    async close() {
      ecs.close();
    },
  };
}

/** The name in an ARN; a name as it is. */
export function lastPart(given: string): string {
  return given.startsWith('arn:') ? (given.split('/').at(-1) ?? given) : given;
}
