import { Command, Option } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import { type AwsRole, awsPermissions, awsRoles, protectionPermissions } from '../../aws/iam.ts';
import { checkedNames } from '../../aws/scaling/metric-names.ts';
import type { Permission, Role } from '../../contracts/setup.ts';
import { MAX_POLICY_LENGTH, policyOf } from '../policy.ts';
import { chooseQueues } from '../queue-choice.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { storeNeeds } from '../store-needs.ts';
import { accountNumber, duration, list } from '../values.ts';
import { storesOf } from './setup.ts';

const storeRoles = ['producer', 'worker', 'setup'] as const satisfies readonly Role[];

interface Options {
  readonly role: Role | AwsRole;
  readonly queues?: readonly string[];
  readonly account?: string;
  readonly region?: string;
  readonly cluster?: string;
  readonly service?: string;
  readonly taskDefinition?: string;
  readonly passRoles?: readonly string[];
  readonly tags?: boolean;
  readonly namespace?: string;
  readonly serviceTime?: number;
  readonly leader?: boolean;
  readonly fromZero?: boolean;
}

/** `lovage iam`: the policy that a role needs, and no more. */
export function iamCommand(): Command {
  return new Command('iam')
    .description('print the IAM policy that a role needs for the broker and result backend of the app, and no more')
    .addOption(
      new Option('--role <role>', `who it is for: ${[...storeRoles, ...awsRoles].join(', ')}`)
        .choices([...storeRoles, ...awsRoles])
        .makeOptionMandatory(),
    )
    .option('-Q, --queues <queues>', 'these queues; without it all that the app knows', list)
    .option('--account <number>', 'AWS account, where it cannot be known from URLs', accountNumber)
    .option('--region <region>', 'region of the ECS cluster, where it is not that of the stores')
    .option('--cluster <cluster>', 'name or ARN of the ECS cluster: of a dispatcher, a monitor, or a worker on ECS')
    .option('--service <service>', 'name or ARN of the ECS service that a monitor looks at')
    .option('--task-definition <family>', 'family of the task definition that a dispatcher starts')
    .option('--pass-roles <arns>', 'ARNs of both roles of that task definition, with commas', list)
    .option('--tags', 'a dispatcher that tags its ECS tasks')
    .option('--namespace <name>', 'namespace of the metrics of a monitor (default: "Lovage")')
    .option('--service-time <time>', 'a monitor that is told what a run takes, and reads no runtimes', duration)
    .option('--leader', 'a monitor with --leader')
    .option('--from-zero', 'a monitor with --from-zero, or with --max: it scales by itself')
    .action(run<[Options]>(iam));
}

async function iam(session: Session, options: Options): Promise<number> {
  const app = await session.app();
  const permissions = await permissionsOf(app, options);
  const policy = policyOf(permissions);
  if (policy.Statement.length === 0) {
    const { broker, backend } = await app.stores();
    const urls = storesOf(broker, backend).map(({ url }) => url);
    session.out.answer(null, () => `${urls.join(' and ')}: no permissions of AWS are needed.`);
    return status.ok;
  }
  const length = JSON.stringify(policy).length;
  session.out.answer(policy, () => JSON.stringify(policy, undefined, 2));
  if (length > MAX_POLICY_LENGTH) {
    session.out.note(
      `the policy has ${length} characters; a managed policy takes ${MAX_POLICY_LENGTH}. Make one for each part of the queues (-Q), or an inline policy`,
    );
  }
  return status.ok;
}

async function permissionsOf(app: LovageApp, options: Options): Promise<Permission[]> {
  const { role, queues, cluster } = options;
  const known = { ...options, namespace: checkedNames({ namespace: options.namespace }).namespace };
  if (isStoreRole(role)) {
    const own = await inStores(app, role, options, queues);
    return role === 'worker' && cluster !== undefined ? [...own, ...protectionPermissions(own, known)] : own;
  }
  if (role === 'monitor') {
    const worker = await inStores(app, 'worker', options, queues ?? chooseQueues(app.config, undefined));
    const { serviceTime, fromZero } = options;
    return awsPermissions(role, worker, { ...known, readsRuntimes: serviceTime === undefined, scales: fromZero });
  }
  const worker = await inStores(app, 'worker', options, queues ?? [app.config.taskEcsQueue]);
  const own = awsPermissions(role, worker, known);
  // A job may send tasks to every queue that the app knows. So may whoever ends one that did not run: to its errbacks, and
  // to the body of its chord.
  return [...own, ...(await inStores(app, 'producer', options, undefined))];
}

function isStoreRole(role: Role | AwsRole): role is Role {
  return storeRoles.some((one) => one === role);
}

/** What a role may do in the stores of an app. */
async function inStores(
  app: LovageApp,
  role: Role,
  { account }: Options,
  queues: readonly string[] | undefined,
): Promise<Permission[]> {
  const needs = storeNeeds(app, { queues, account });
  const { broker, backend } = await app.stores();
  const stores = storesOf(broker, backend);
  return (await Promise.all(stores.map((store) => store.setup?.permissions(role, needs) ?? []))).flat();
}
