import type { Permission } from '../contracts/setup.ts';
import { ConfigError } from '../errors.ts';
import { partitionOf } from '../stores/aws/partition.ts';
import { isDeadName } from '../stores/sqs/names.ts';
import { lastPart } from './dispatch/ecs-target.ts';
import { roleActions } from './role-actions.ts';
import { defaultNames } from './scaling/metric-names.ts';

/** Roles of those who run Lovage's work on AWS, beside its senders and workers. */
export const awsRoles = ['dispatcher', 'container', 'reconciler', 'monitor'] as const;
export type AwsRole = (typeof awsRoles)[number];

/** What policies of these roles are about besides the stores. */
export interface AwsRoleOptions {
  /** Name or ARN of the ECS cluster. */
  readonly cluster?: string | undefined;
  /** Name or ARN of the ECS service that a monitor looks at. */
  readonly service?: string | undefined;
  /** Family of the task definition that a dispatcher starts. */
  readonly taskDefinition?: string | undefined;
  /** ARNs of the roles of that task definition: its own, and that by which ECS starts it. */
  readonly passRoles?: readonly string[] | undefined;
  /** Whether a dispatcher tags its ECS tasks. */
  readonly tags?: boolean | undefined;
  /** Namespace of the metrics of a monitor. Default: `Lovage`. */
  readonly namespace?: string | undefined;
  /** Whether a monitor asks for the claim of the leader. */
  readonly leader?: boolean | undefined;
  /** Whether a monitor scales the service itself. */
  readonly scales?: boolean | undefined;
  /** Whether a monitor looks for runtimes that workers have measured. */
  readonly readsRuntimes?: boolean | undefined;
  readonly account?: string | undefined;
  readonly region?: string | undefined;
}

/** What a dispatcher, a container, a reconciler or a monitor may do. `worker`: what a worker may do in its stores. */
export function awsPermissions(role: AwsRole, worker: readonly Permission[], options: AwsRoleOptions): Permission[] {
  if (role === 'monitor') return monitorPermissions(worker, options);
  if (!worker.some(({ action }) => action.startsWith('sqs:')))
    throw new ConfigError(`role ${role}: jobs on ECS come from SQS, expected a broker sqs://`);
  if (role === 'dispatcher') return [...worker, ...startPermissions(worker, options)];
  return worker.filter(isAllowed(roleActions[role]));
}

/** What a worker in a cluster may do besides: be spared from scale-in. */
export function protectionPermissions(worker: readonly Permission[], options: AwsRoleOptions): Permission[] {
  const cluster = clusterOf(worker, options, 'worker');
  const resource = `${cluster.replace(':cluster/', ':task/')}/*`;
  return roleActions.protection.map((action) => ({ action, resource, condition: inCluster(cluster) }));
}

/** Of SQS only some; of other stores all. */
function isAllowed(actions: { readonly queues: readonly string[]; readonly dead: readonly string[] }) {
  return ({ action, resource }: Permission): boolean => {
    if (!action.startsWith('sqs:')) return true;
    const isDead = isDeadName(resource.slice(resource.lastIndexOf(':') + 1));
    return (isDead ? actions.dead : actions.queues).includes(action);
  };
}

function startPermissions(worker: readonly Permission[], options: AwsRoleOptions): Permission[] {
  const { taskDefinition, passRoles = [], tags } = options;
  const cluster = clusterOf(worker, options, 'dispatcher');
  if (!taskDefinition)
    throw new ConfigError('role dispatcher: expected --task-definition, the family of what it starts');
  const wrong = passRoles.find((arn) => !/^arn:[\w-]+:iam::\d{12}:role\/.+$/.test(arn));
  if (wrong !== undefined || passRoles.length === 0)
    throw new ConfigError(
      `role dispatcher: expected --pass-roles, the ARNs of both roles of the task definition (arn:aws:iam::123456789012:role/name), got ${wrong ?? 'none'}`,
    );
  const family = lastPart(taskDefinition).replace(/:\d+$/, '');
  const condition = inCluster(cluster);
  const passed = { StringEquals: { 'iam:PassedToService': 'ecs-tasks.amazonaws.com' } };
  const tagged = { StringEquals: { 'ecs:CreateAction': 'RunTask' } };
  return [
    ...roleActions.dispatcher.ecs.map((action) => ({
      action,
      resource: `${cluster.replace(/:cluster\/.*/, ':task-definition/')}${family}:*`,
      condition,
    })),
    ...passRoles.map((resource) => ({ action: 'iam:PassRole', resource, condition: passed })),
    ...(tags
      ? [{ action: 'ecs:TagResource', resource: `${cluster.replace(':cluster/', ':task/')}/*`, condition: tagged }]
      : []),
  ];
}

function monitorPermissions(worker: readonly Permission[], options: AwsRoleOptions): Permission[] {
  const { service, namespace = defaultNames.namespace, leader, scales, readsRuntimes } = options;
  if (!service) throw new ConfigError('role monitor: expected --service, the ECS service that it looks at');
  const resource = service.startsWith('arn:')
    ? service
    : `${clusterOf(worker, options, 'monitor').replace(':cluster/', ':service/')}/${service}`;
  const { queues, dead, service: looks, scale, publish, runtimes, leader: leads } = roleActions.monitor;
  const table = new Set<string>([...(readsRuntimes ? runtimes : []), ...(leader ? leads : [])]);
  return [
    ...worker.filter(({ action }) => action.startsWith('sqs:')).filter(isAllowed({ queues, dead })),
    ...worker.filter(({ action }) => table.has(action)),
    ...[...looks, ...(scales ? scale : [])].map((action) => ({ action, resource })),
    // Metrics have no ARN: the namespace is what there is to restrict.
    ...publish.map((action) => ({
      action,
      resource: '*',
      condition: { StringEquals: { 'cloudwatch:namespace': namespace } },
    })),
  ];
}

function inCluster(cluster: string): Permission['condition'] {
  return { ArnEquals: { 'ecs:cluster': cluster } };
}

/** The ARN of the cluster. Where it stands is known from its own ARN, from those of the stores, or was said. */
function clusterOf(known: readonly Permission[], options: AwsRoleOptions, role: string): string {
  const { cluster } = options;
  if (!cluster) throw new ConfigError(`role ${role}: expected --cluster, name or ARN of the ECS cluster`);
  if (cluster.startsWith('arn:')) return cluster;
  const parts = known.map(({ resource }) => resource.split(':'));
  const store = parts.find(([, , service, region, account = '']) => {
    return (service === 'sqs' || service === 'dynamodb') && region !== '' && /^\d{12}$/.test(account);
  });
  const region = options.region ?? store?.[3];
  const account = options.account ?? store?.[4];
  if (!region || !account)
    throw new ConfigError(
      `role ${role}: in which account and region cluster '${cluster}' is cannot be known from the stores: give its ARN, or --account and --region`,
    );
  return `arn:${partitionOf(region)}:ecs:${region}:${account}:cluster/${cluster}`;
}
