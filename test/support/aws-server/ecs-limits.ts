/** The documented limits of RunTask that no schema knows. */
import type * as Ecs from '@aws-sdk/client-ecs';
import type { TestTaskDefinition } from './ecs-model.ts';
import { AwsRefusal } from './faults.ts';

const maxOverrides = 8192;

/** @throws AwsRefusal for a request that ECS refuses */
export function checkRunTask(input: Ecs.RunTaskRequest, { awsvpc, container }: TestTaskDefinition): void {
  const { count = 1, launchType, capacityProviderStrategy, clientToken, startedBy, networkConfiguration } = input;
  const { overrides, tags = [], propagateTags } = input;
  check(Number.isInteger(count) && count >= 1 && count <= 10, 'count must be 1 to 10');
  check(!(launchType && capacityProviderStrategy?.length), 'give launchType or capacityProviderStrategy, not both');
  check(
    launchType === undefined || ['EC2', 'FARGATE', 'EXTERNAL', 'MANAGED_INSTANCES'].includes(launchType),
    'launchType',
  );
  check((capacityProviderStrategy?.length ?? 0) <= 20, 'capacityProviderStrategy can have at most 20 items');
  check(
    !capacityProviderStrategy?.length || capacityProviderStrategy.some(({ weight = 1 }) => weight > 0),
    'at least one weight must be above 0',
  );
  check(
    clientToken === undefined || /^[\x21-\x7e]{1,64}$/.test(clientToken),
    'clientToken: up to 64 characters, 33 to 126',
  );
  check(startedBy === undefined || /^[\w/-]{1,128}$/.test(startedBy), 'startedBy: up to 128 letters, digits, - _ /');
  check(tags.length <= 50, 'at most 50 tags');
  check(propagateTags !== 'SERVICE', 'propagateTags SERVICE is for services');
  check(
    JSON.stringify(overrides ?? {}).length <= maxOverrides,
    `Container Overrides length must be at most ${maxOverrides}`,
  );
  for (const { name } of overrides?.containerOverrides ?? [])
    check(name === container.name, `Override for container named ${name} is not a container in the TaskDefinition.`);
  const vpc = networkConfiguration?.awsvpcConfiguration;
  check(!awsvpc || vpc !== undefined, 'Network Configuration must be provided when networkMode is awsvpc.');
  check(
    awsvpc || vpc === undefined,
    'Network Configuration is not valid for the given networkMode of this task definition.',
  );
  check(!vpc || ((vpc.subnets?.length ?? 0) >= 1 && (vpc.subnets?.length ?? 0) <= 16), 'subnets must be 1 to 16');
  check((vpc?.securityGroups?.length ?? 0) <= 5, 'at most 5 security groups');
}

/** What a task runs on. */
export function launchTypeOf({ launchType, capacityProviderStrategy }: Partial<Ecs.RunTaskRequest>): string {
  if (launchType !== undefined) return launchType;
  return capacityProviderStrategy?.some(({ capacityProvider }) => capacityProvider?.startsWith('FARGATE'))
    ? 'FARGATE'
    : 'EC2';
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new AwsRefusal('InvalidParameterException', message);
}
