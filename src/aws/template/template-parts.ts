import { ConfigError } from '../../errors.ts';

/** A value of a template. */
export type Json = string | number | boolean | readonly Json[] | { readonly [name: string]: Json };

/** A resource of a template. */
export interface Resource {
  readonly Type: string;
  /** The name of a condition without which there is no such resource. */
  readonly Condition?: string;
  readonly Properties: Readonly<Record<string, Json>>;
}

export type Resources = Readonly<Record<string, Resource>>;

/** Parameters of a template, by name. */
export type Parameters = Readonly<Record<string, Readonly<Record<string, Json>>>>;

/** A parameter or a resource, by its name. */
export function ref(Ref: string): Json {
  return { Ref };
}

/** The ARN of a resource. */
export function arn(name: string): Json {
  return { 'Fn::GetAtt': [name, 'Arn'] };
}

/** What CloudFormation replaces in a text. */
export function placeholder(name: string): string {
  return `$\{${name}}`;
}

/** Where CloudFormation writes the name of the stack, and that of the cluster. */
export const STACK = placeholder('AWS::StackName');
export const CLUSTER = placeholder('Cluster');

/** The ARN of something in the account and region of the stack. */
export function arnIn(service: string, resource: string): Json {
  const [partition, region, account] = ['AWS::Partition', 'AWS::Region', 'AWS::AccountId'].map(placeholder);
  return { 'Fn::Sub': `arn:${partition}:${service}:${region}:${account}:${resource}` };
}

/** A request to AWS as a template has it: texts in which something is to be replaced are marked so. */
export function asJson(value: unknown): Json {
  if (typeof value === 'string') return value.includes('${') ? { 'Fn::Sub': value } : value;
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(asJson);
  return asProperties(value);
}

/** The members of a request. */
export function asProperties(value: unknown): Record<string, Json> {
  const given = Object.entries(Object(value)).filter(([, one]) => one !== undefined);
  return Object.fromEntries(given.map(([name, one]) => [name, asJson(one)]));
}

/** Memory in MiB that Fargate has for so many CPU units: the least, the most, and the step between. */
const sizes: Readonly<Record<number, readonly [number, number, number]>> = {
  512: [1024, 4096, 1024],
  1024: [2048, 8192, 1024],
  2048: [4096, 16_384, 1024],
  4096: [8192, 30_720, 1024],
  8192: [16_384, 61_440, 4096],
  16384: [32_768, 122_880, 8192],
};

interface Size {
  readonly cpu: number;
  readonly memory: number;
}

/** @throws ConfigError for a size that Fargate does not have */
function checkSize(what: string, { cpu, memory }: Size): void {
  const fail = (expected: string): never => {
    throw new ConfigError(`${what}: expected ${expected}, got ${memory} MiB for ${cpu} CPU units`);
  };
  if (cpu === 256) {
    if (![512, 1024, 2048].includes(memory)) fail('512, 1024 or 2048 MiB of memory for 256 CPU units');
    return;
  }
  const [least, most, step] = sizes[cpu] ?? fail(`CPU units that Fargate has: 256, ${Object.keys(sizes).join(', ')}`);
  if (memory < least || memory > most || memory % step !== 0)
    fail(`${least} to ${most} MiB of memory in steps of ${step} for ${cpu} CPU units`);
}

export interface TaskDefinitionParts extends Size {
  /** `run-one`, `worker` or `monitor`: names family and logs. */
  readonly what: string;
  /** Arguments of the command line. */
  readonly command: readonly Json[];
  readonly role: string;
  /** Seconds from SIGTERM to SIGKILL. */
  readonly stopTimeout: number;
  readonly environment: Readonly<Record<string, string>>;
}

/** A task definition of Fargate: one container that runs a command of `lovage`. @throws ConfigError for its size */
export function taskDefinition(parts: TaskDefinitionParts): Resource {
  const { what, command, role, cpu, memory, stopTimeout, environment } = parts;
  checkSize(what, parts);
  const variables = { ...environment, ECS_CONTAINER_STOP_TIMEOUT: String(stopTimeout) };
  return {
    Type: 'AWS::ECS::TaskDefinition',
    Properties: {
      Family: { 'Fn::Sub': `${STACK}-${what}` },
      RequiresCompatibilities: ['FARGATE'],
      NetworkMode: 'awsvpc',
      Cpu: String(cpu),
      Memory: String(memory),
      ExecutionRoleArn: arn('ExecutionRole'),
      TaskRoleArn: arn(role),
      ContainerDefinitions: [
        {
          Name: 'app',
          Image: ref('Image'),
          Essential: true,
          // In the exec form: a shell as process 1 would keep SIGTERM to itself.
          EntryPoint: ['node', 'node_modules/lovage/dist/cli/main.js'],
          Command: command,
          StopTimeout: stopTimeout,
          Environment: Object.entries(variables).map(([Name, Value]) => ({ Name, Value })),
          LogConfiguration: {
            LogDriver: 'awslogs',
            Options: {
              'awslogs-group': ref('LogGroup'),
              'awslogs-region': ref('AWS::Region'),
              'awslogs-stream-prefix': what,
            },
          },
        },
      ],
    },
  };
}
