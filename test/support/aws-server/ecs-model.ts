/** Clusters, task definitions, services and tasks of the test server, and how they are written in answers. */
import type { TaskProcess, TestContainer } from './task-process.ts';

export interface TestTaskDefinition {
  readonly family: string;
  /** One container, as one process. */
  readonly container: TestContainer;
  /** As on Fargate: RunTask must name subnets. */
  readonly awsvpc?: boolean;
}

export interface TestServiceSpec {
  readonly cluster?: string;
  readonly name: string;
  /** Family of its task definition. */
  readonly family: string;
  readonly desiredCount: number;
}

export interface TestService {
  readonly cluster: string;
  readonly name: string;
  readonly arn: string;
  family: string;
  desiredCount: number;
}

export type TaskStatus = 'PENDING' | 'RUNNING' | 'DEPROVISIONING' | 'STOPPED';
export type StopCode =
  | 'EssentialContainerExited'
  | 'InfrastructureHealth'
  | 'ServiceSchedulerInitiated'
  | 'SpotInterruption'
  | 'TaskFailedToStart'
  | 'TerminationNotice'
  | 'UserInitiated';

export interface TestTask {
  readonly id: string;
  readonly arn: string;
  readonly cluster: string;
  readonly family: string;
  readonly container: TestContainer;
  readonly service: TestService | undefined;
  readonly startedBy: string | undefined;
  readonly overrides: object | undefined;
  readonly launchType: string;
  readonly createdAt: number;
  status: TaskStatus;
  desiredStatus: 'RUNNING' | 'STOPPED';
  version: number;
  process: TaskProcess | undefined;
  startedAt?: number;
  stoppedAt?: number;
  stopCode?: StopCode;
  stoppedReason?: string;
  exitCode?: number;
  /** Epoch milliseconds; until then it is protected from scale-in. */
  protectedUntil?: number;
}

/** Where everything is. */
export interface Place {
  readonly region: string;
  readonly account: string;
}

export function arnOf({ region, account }: Place, rest: string): string {
  return `arn:aws:ecs:${region}:${account}:${rest}`;
}

/** A task as DescribeTasks tells of it; instants in seconds, as on the wire. */
export function describeTask(task: TestTask, place: Place): object {
  return {
    taskArn: task.arn,
    clusterArn: arnOf(place, `cluster/${task.cluster}`),
    taskDefinitionArn: arnOf(place, `task-definition/${task.family}:1`),
    group: task.service ? `service:${task.service.name}` : `family:${task.family}`,
    launchType: task.launchType,
    lastStatus: task.status,
    desiredStatus: task.desiredStatus,
    version: task.version,
    createdAt: task.createdAt / 1000,
    containers: [
      {
        name: task.container.name,
        taskArn: task.arn,
        lastStatus: task.status === 'DEPROVISIONING' ? 'RUNNING' : task.status,
        ...(task.exitCode !== undefined && { exitCode: task.exitCode }),
      },
    ],
    ...(task.overrides && { overrides: task.overrides }),
    ...(task.startedBy !== undefined && { startedBy: task.startedBy }),
    ...(task.startedAt !== undefined && { startedAt: task.startedAt / 1000 }),
    ...(task.stoppedAt !== undefined && { stoppedAt: task.stoppedAt / 1000 }),
    ...(task.stopCode !== undefined && { stopCode: task.stopCode }),
    ...(task.stoppedReason !== undefined && { stoppedReason: task.stoppedReason }),
  };
}

/** A service as DescribeServices tells of it. */
export function describeService(service: TestService, tasks: readonly TestTask[], place: Place): object {
  const count = (status: TaskStatus) => tasks.filter((task) => task.status === status).length;
  return {
    serviceName: service.name,
    serviceArn: service.arn,
    clusterArn: arnOf(place, `cluster/${service.cluster}`),
    status: 'ACTIVE',
    taskDefinition: arnOf(place, `task-definition/${service.family}:1`),
    desiredCount: service.desiredCount,
    runningCount: count('RUNNING') + count('DEPROVISIONING'),
    pendingCount: count('PENDING'),
  };
}

/** The event that EventBridge gets from ECS when a task changes. */
export function stateChange(task: TestTask, place: Place): TaskStateChange {
  return {
    version: '0',
    id: crypto.randomUUID(),
    'detail-type': 'ECS Task State Change',
    source: 'aws.ecs',
    account: place.account,
    time: new Date().toISOString(),
    region: place.region,
    resources: [task.arn],
    detail: {
      ...(JSON.parse(JSON.stringify(describeTask(task, place))) as object),
      createdAt: new Date(task.createdAt).toISOString(),
      ...(task.startedAt !== undefined && { startedAt: new Date(task.startedAt).toISOString() }),
      ...(task.stoppedAt !== undefined && { stoppedAt: new Date(task.stoppedAt).toISOString() }),
    },
  };
}

export interface TaskStateChange {
  readonly version: string;
  readonly id: string;
  readonly 'detail-type': 'ECS Task State Change';
  readonly source: 'aws.ecs';
  readonly account: string;
  readonly time: string;
  readonly region: string;
  readonly resources: readonly string[];
  readonly detail: Readonly<Record<string, unknown>>;
}
