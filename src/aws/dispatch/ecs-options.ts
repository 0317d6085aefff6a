import type { LovageApp } from '../../app/app.ts';
import { ConfigError } from '../../errors.ts';
import { type AwsAddress, awsAddress, awsOptions } from '../../stores/aws/options.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option, show } from '../../util/options.ts';

/** One way to run, with its share of the tasks. */
export interface CapacityProvider {
  /** Such as `FARGATE_SPOT`. */
  readonly capacityProvider: string;
  /** 0 to 1,000. */
  readonly weight?: number;
  /** The first so many tasks. */
  readonly base?: number;
}

/** Where tasks stand in the network: needed on Fargate. */
export interface NetworkConfiguration {
  /** 1 to 16 of one VPC. */
  readonly subnets: readonly string[];
  /** Up to 5. */
  readonly securityGroups?: readonly string[];
  /** `ENABLED` in a public subnet without NAT, or no image can be pulled. */
  readonly assignPublicIp?: 'ENABLED' | 'DISABLED';
}

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v);
const isText = (v: unknown): v is string => typeof v === 'string' && v !== '';
const isTexts = (v: unknown, min: number, max: number) =>
  Array.isArray(v) && v.length >= min && v.length <= max && v.every(isText);
const onlyHas = (v: Record<string, unknown>, ...names: readonly string[]) =>
  Object.keys(v).every((name) => names.includes(name));

const strategyKind = kinds.custom<readonly CapacityProvider[]>(
  'a list of 1 to 20 { capacityProvider, weight (0 to 1000), base }, one of them with a weight above 0',
  (v) =>
    Array.isArray(v) &&
    v.length >= 1 &&
    v.length <= 20 &&
    v.every(
      (one) =>
        isObject(one) &&
        onlyHas(one, 'capacityProvider', 'weight', 'base') &&
        isText(one.capacityProvider) &&
        (one.weight === undefined || kinds.int(0, 1000).is(one.weight)) &&
        (one.base === undefined || kinds.int(0, 100_000).is(one.base)),
    ) &&
    v.some(({ weight = 1 }) => weight > 0),
);

const networkKind = kinds.custom<NetworkConfiguration>(
  "an object with subnets (1 to 16), perhaps securityGroups (up to 5) and assignPublicIp ('ENABLED' or 'DISABLED')",
  (v) =>
    isObject(v) &&
    onlyHas(v, 'subnets', 'securityGroups', 'assignPublicIp') &&
    isTexts(v.subnets, 1, 16) &&
    (v.securityGroups === undefined || isTexts(v.securityGroups, 0, 5)) &&
    (v.assignPublicIp === undefined || v.assignPublicIp === 'ENABLED' || v.assignPublicIp === 'DISABLED'),
);

/** Every option of `ecsDispatcher(options)`. */
export const ecsDispatcherTable = {
  app: option<LovageApp>({
    kind: kinds.custom('an application (new Lovage(...))', (v) => isObject(v) && 'sendTask' in v && 'config' in v),
    doc: "The application whose messages these are; its tasks need not be there. Needed for mode 'claim'.",
  }),
  cluster: option({ kind: kinds.text, doc: 'Name or ARN of the cluster.' }),
  taskDefinition: option({ kind: kinds.text, doc: 'Family, family:revision or ARN. Without a revision: the latest.' }),
  container: option({ kind: kinds.text, doc: 'The container of the task definition that runs `lovage run-one`.' }),
  launchType: option({
    kind: kinds.oneOf('FARGATE', 'EC2', 'EXTERNAL'),
    doc: "Where tasks run. Without it and capacityProviderStrategy: as the cluster's default says.",
  }),
  capacityProviderStrategy: option<readonly CapacityProvider[]>({
    kind: strategyKind,
    doc: 'Instead of launchType, such as [{ capacityProvider: "FARGATE_SPOT" }].',
  }),
  networkConfiguration: option<NetworkConfiguration>({
    kind: networkKind,
    doc: 'Subnets, security groups and public addresses. Needed on Fargate.',
  }),
  command: option({
    kind: kinds.texts,
    doc: "Replaces the container's command, such as ['npx', 'lovage', '-A', 'app', 'run-one'].",
  }),
  mode: option({
    kind: kinds.oneOf('claim', 'receipt'),
    doc: "'claim' (default): the job is kept in the result backend, and its message deleted. 'receipt' (default on FIFO queues): the container extends and deletes the message itself.",
  }),
  propagateTags: option({ kind: kinds.oneOf('TASK_DEFINITION', 'NONE'), doc: 'As in RunTask.' }),
  tags: option({ kind: kinds.map, doc: 'Tags of the ECS tasks: { name: value }.' }),
  startTimeout: option({
    kind: kinds.seconds(30),
    default: 600,
    doc: 'Seconds that a container may take from RunTask to its first sign of life: image pull included.',
  }),
  runTasksPerSecond: option({
    kind: kinds.custom<number>(
      'a number above 0',
      (v) => typeof v === 'number' && v > 0 && v < Number.POSITIVE_INFINITY,
    ),
    default: 20,
    doc: 'How often RunTask is called; Fargate takes 20 a second in an account and region.',
  }),
  broker: option({
    kind: kinds.text,
    doc: "The sqs:// URL of the queue, where there is no app. Default: the app's, or sqs://.",
  }),
  region: awsOptions.region,
  endpointUrl: awsOptions.endpointUrl,
} satisfies OptionTable;

/** What `ecsDispatcher(options)` takes. */
export type EcsDispatcherOptions = OptionsOf<typeof ecsDispatcherTable> & {
  readonly cluster: string;
  readonly taskDefinition: string;
  readonly container: string;
};

/** What RunTask is called with for every job. */
export interface EcsTarget
  extends Pick<
    EcsDispatcherOptions,
    | 'cluster'
    | 'taskDefinition'
    | 'container'
    | 'launchType'
    | 'capacityProviderStrategy'
    | 'networkConfiguration'
    | 'command'
    | 'propagateTags'
  > {
  readonly tags: Readonly<Record<string, string>> | undefined;
}

const where = 'ecsDispatcher';

/**
 * Checks the options of a dispatcher together.
 * @throws ConfigError for a missing, wrong or contradictory option
 */
export function checkDispatcher(options: EcsDispatcherOptions): void {
  if (!isObject(options)) throw new ConfigError(`${where}: expected an object of options, got ${show(options)}`);
  checkOptions(ecsDispatcherTable, options, where);
  for (const name of ['cluster', 'taskDefinition', 'container'] as const)
    if (options[name] === undefined)
      throw new ConfigError(`${where} needs the option ${name}: ${ecsDispatcherTable[name].doc}`);
  const { launchType, capacityProviderStrategy, networkConfiguration, mode, app, tags } = options;
  if (launchType !== undefined && capacityProviderStrategy)
    throw new ConfigError(`${where}: give launchType or capacityProviderStrategy, not both`);
  const onFargate =
    launchType === 'FARGATE' ||
    capacityProviderStrategy?.some(({ capacityProvider }) => capacityProvider.startsWith('FARGATE'));
  if (onFargate && !networkConfiguration)
    throw new ConfigError(
      `${where}: Fargate needs networkConfiguration: { subnets: ['subnet-...'], securityGroups: ['sg-...'] }`,
    );
  if (mode === 'claim' && !app)
    throw new ConfigError(
      `${where}: mode 'claim' keeps jobs in the app's result backend: give the option app, or say mode: 'receipt'`,
    );
  if (tags && (Object.keys(tags).length > 50 || !Object.values(tags).every((value) => typeof value === 'string')))
    throw new ConfigError(`${where}: expected tags to be at most 50 texts by name`);
}

/** What RunTask is told of all jobs alike. */
export function targetOf(options: EcsDispatcherOptions): EcsTarget {
  return { ...options, tags: options.tags as Readonly<Record<string, string>> | undefined };
}

/** Where ECS answers. */
export function ecsAddress({ region, endpointUrl }: Pick<EcsDispatcherOptions, 'region' | 'endpointUrl'>): AwsAddress {
  const nobody = { user: '', password: '', where };
  return awsAddress(nobody, { region, endpointUrl });
}
