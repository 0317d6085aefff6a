import { createHash } from 'node:crypto';
import { MessageTooLargeError } from '../../errors.ts';
import type { EcsTarget } from './ecs-options.ts';

/** What RunTask takes as overrides, in characters, its own punctuation included. */
export const MAX_OVERRIDES = 8192;

/** What the container of one job is told, and how ECS recognises the job. */
export interface JobRun {
  /** Environment variables of the container. */
  readonly env: Readonly<Record<string, string>>;
  /** What makes two requests one: the same texts, the same ECS task. */
  readonly identity: readonly string[];
  /** Letters, digits, `-_/`, up to 128. */
  readonly startedBy: string;
}

type RunTaskRequest = import('@aws-sdk/client-ecs').RunTaskRequest;

/**
 * The request that starts the ECS task of one job. The same job makes the same request, so that ECS starts it once, however
 * often it is asked within its memory for `clientToken`.
 * @throws MessageTooLargeError where the overrides have more than 8,192 characters
 */
export function runTaskRequest(target: EcsTarget, { env, identity, startedBy }: JobRun): RunTaskRequest {
  const overrides = {
    containerOverrides: [
      {
        name: target.container,
        ...(target.command && { command: [...target.command] }),
        environment: Object.entries(env).map(([name, value]) => ({ name, value })),
      },
    ],
  };
  const { length } = JSON.stringify(overrides);
  if (length > MAX_OVERRIDES) {
    throw new MessageTooLargeError(
      `the overrides of the ECS task have ${length} characters, and RunTask takes ${MAX_OVERRIDES}: use mode 'claim', where the container fetches the message itself, or give the broker a payloadStore with a payloadThreshold of 4096`,
    );
  }
  const { cluster, taskDefinition, launchType, capacityProviderStrategy, networkConfiguration } = target;
  return {
    cluster,
    taskDefinition,
    count: 1,
    clientToken: tokenOf(cluster, taskDefinition, ...identity),
    startedBy,
    overrides,
    ...(launchType !== undefined && { launchType }),
    ...(capacityProviderStrategy && { capacityProviderStrategy: [...capacityProviderStrategy] }),
    ...(networkConfiguration && {
      networkConfiguration: {
        awsvpcConfiguration: {
          ...networkConfiguration,
          subnets: [...networkConfiguration.subnets],
          ...(networkConfiguration.securityGroups && { securityGroups: [...networkConfiguration.securityGroups] }),
        },
      },
    }),
    ...(target.propagateTags !== undefined && { propagateTags: target.propagateTags }),
    ...(target.tags && { tags: Object.entries(target.tags).map(([key, value]) => ({ key, value })) }),
  } as RunTaskRequest;
}

/** ECS takes up to 64 characters for a token. */
function tokenOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex');
}
