/** ECS of the test server: tasks are processes, services keep as many of them as they are told. */
import { randomUUID } from 'node:crypto';
import type * as Ecs from '@aws-sdk/client-ecs';
import { ecsActions, invalid, nameIn } from './ecs-actions.ts';
import { launchTypeOf } from './ecs-limits.ts';
import {
  arnOf,
  type Place,
  type StopCode,
  stateChange,
  type TaskStateChange,
  type TestService,
  type TestServiceSpec,
  type TestTask,
  type TestTaskDefinition,
} from './ecs-model.ts';
import { AwsRefusal } from './faults.ts';
import type { Actions } from './server.ts';
import { TaskProcess } from './task-process.ts';

export interface TestEcsOptions {
  readonly region?: string;
  /** From RunTask, or the decision of a service, to the start of the process. Default: 0. */
  readonly bootMs?: number;
  /** Calls of RunTask a second, and at once; more are throttled. Default: no limit. */
  readonly runTasksPerSecond?: number;
}

export class TestEcs implements Place {
  readonly region: string;
  readonly account = '123456789012';
  /** By id. */
  readonly tasks = new Map<string, TestTask>();
  /** So many requests to the agent of a task will fail. */
  agentFailures = 0;
  readonly services = new Map<string, TestService>();
  readonly #clusters = new Set(['default']);
  readonly #definitions = new Map<string, TestTaskDefinition>();
  readonly #listeners = new Set<(event: TaskStateChange) => void>();
  readonly runTasksPerSecond: number;
  readonly actions: Actions;
  readonly #bootMs: number;
  readonly #env: () => Record<string, string>;
  #closed = false;

  constructor(
    { region = 'eu-west-1', bootMs = 0, runTasksPerSecond }: TestEcsOptions,
    env: () => Record<string, string>,
  ) {
    this.region = region;
    this.#bootMs = bootMs;
    this.runTasksPerSecond = runTasksPerSecond ?? Number.POSITIVE_INFINITY;
    this.actions = ecsActions(this);
    this.#env = env;
  }

  addCluster(name: string): void {
    this.#clusters.add(name);
  }

  registerTaskDefinition(definition: TestTaskDefinition): void {
    this.#definitions.set(definition.family, definition);
  }

  /** Creates a service, which starts its tasks. */
  addService({ cluster = 'default', name, family, desiredCount }: TestServiceSpec): TestService {
    this.#clusters.add(cluster);
    const arn = arnOf(this, `service/${cluster}/${name}`);
    const service: TestService = { cluster, name, arn, family: this.definition(family).family, desiredCount: 0 };
    this.services.set(`${cluster}/${name}`, service);
    this.setDesired(service, desiredCount);
    return service;
  }

  /** Calls `listener` with the events of tasks, as EventBridge would; returns what ends that. */
  onTaskStateChange(listener: (event: TaskStateChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What a task has printed. */
  output(arn: string): string {
    return this.tasks.get(nameIn(arn))?.process?.output ?? '';
  }

  /** Tasks of a service that have not stopped. */
  tasksOf(service: TestService): TestTask[] {
    return [...this.tasks.values()].filter((task) => task.service === service && task.status !== 'STOPPED');
  }

  /** Has a service start tasks, or stop those that are not protected, the youngest first. */
  setDesired(service: TestService, desiredCount: number): void {
    if (!Number.isInteger(desiredCount) || desiredCount < 0) throw invalid('desiredCount must be 0 or more');
    service.desiredCount = desiredCount;
    this.#reconcile(service);
  }

  /** SIGTERM to the process of a task, SIGKILL when its time is over; resolves when it is gone. */
  async stopTask(task: TestTask, stopCode: StopCode, reason: string): Promise<void> {
    if (task.desiredStatus === 'RUNNING') {
      task.desiredStatus = 'STOPPED';
      task.stopCode = stopCode;
      task.stoppedReason = reason;
      if (task.status === 'RUNNING') this.#change(task, 'DEPROVISIONING');
    }
    if (task.process) await task.process.stop();
    else if (task.status === 'PENDING') this.#stopped(task);
  }

  /** Kills the process of a task, as lack of memory does (`EssentialContainerExited`), or the end of a Spot instance. */
  killTask(
    arn: string,
    stopCode: StopCode = 'EssentialContainerExited',
    reason = 'OutOfMemoryError: container killed',
  ): void {
    const task = this.tasks.get(nameIn(arn));
    if (!task) throw new Error(`there is no task ${arn}`);
    task.stopCode = stopCode;
    task.stoppedReason = reason;
    task.process?.kill();
  }

  /** Reads (`asked` undefined) or sets the protection of a task, as the agent's endpoint and the API do. */
  protect(
    task: TestTask,
    asked: { enabled: boolean; minutes: number } | undefined,
  ): { failure?: object; protectedTask?: object } {
    const fail = (Reason: string, Detail: string) => ({ failure: { Arn: task.arn, Reason, Detail } });
    const { service } = task;
    if (!service) return fail('TASK_NOT_VALID', 'only tasks of a service can be protected');
    if (asked?.enabled) {
      const others = this.tasksOf(service).filter((one) => one !== task && isProtected(one)).length;
      const blocked = task.desiredStatus === 'STOPPED' || others >= service.desiredCount;
      if (blocked && !isProtected(task)) return fail('DEPLOYMENT_BLOCKED', 'a deployment would be blocked by it');
      task.protectedUntil = Date.now() + asked.minutes * 60_000;
    } else if (asked) {
      delete task.protectedUntil;
      // A service that waits for it stops it now.
      setImmediate(() => this.#reconcile(service));
    }
    const enabled = isProtected(task);
    return {
      protectedTask: {
        TaskArn: task.arn,
        ProtectionEnabled: enabled,
        ...(enabled && { ExpirationDate: new Date(task.protectedUntil ?? 0).toISOString() }),
      },
    };
  }

  /** Ends all tasks at once. */
  async stop(): Promise<void> {
    this.#closed = true;
    for (const task of this.tasks.values()) task.process?.kill();
    await Promise.all([...this.tasks.values()].map((task) => task.process?.ended));
  }

  begin(
    { family, container }: TestTaskDefinition,
    cluster: string,
    { input = {}, service }: { input?: Partial<Ecs.RunTaskRequest>; service?: TestService },
  ): TestTask {
    const id = randomUUID().replaceAll('-', '');
    const task: TestTask = {
      id,
      arn: arnOf(this, `task/${cluster}/${id}`),
      cluster,
      family,
      container,
      service,
      startedBy: input.startedBy ?? (service && `ecs-svc/${service.name}`),
      overrides: input.overrides,
      launchType: launchTypeOf(input),
      createdAt: Date.now(),
      status: 'PENDING',
      desiredStatus: 'RUNNING',
      version: 1,
      process: undefined,
    };
    this.tasks.set(id, task);
    if (this.#bootMs > 0) setTimeout(() => this.#start(task), this.#bootMs);
    else setImmediate(() => this.#start(task));
    return task;
  }

  #start(task: TestTask): void {
    if (this.#closed || task.desiredStatus === 'STOPPED') return;
    const override = (task.overrides as Ecs.TaskOverride | undefined)?.containerOverrides?.[0];
    const command = override?.command ?? task.container.command;
    const variables = (override?.environment ?? []).map(({ name = '', value = '' }) => [name, value]);
    const endpoint = this.#env().AWS_ENDPOINT_URL_ECS;
    task.process = new TaskProcess(
      { ...task.container, command },
      {
        ...this.#env(),
        ECS_AGENT_URI: `${endpoint}/agent/${task.id}`,
        ECS_CONTAINER_METADATA_URI_V4: `${endpoint}/metadata/${task.id}`,
        ...task.container.environment,
        ...Object.fromEntries(variables),
      },
    );
    task.startedAt = Date.now();
    this.#change(task, 'RUNNING');
    void task.process.ended.then(({ exitCode }) => {
      task.exitCode = exitCode;
      task.stopCode ??= 'EssentialContainerExited';
      task.stoppedReason ??= 'Essential container in task exited';
      this.#stopped(task);
    });
  }

  #stopped(task: TestTask): void {
    task.desiredStatus = 'STOPPED';
    task.stoppedAt = Date.now();
    this.#change(task, 'STOPPED');
    if (task.service) this.#reconcile(task.service);
  }

  #reconcile(service: TestService): void {
    if (this.#closed) return;
    const alive = this.tasksOf(service).filter(({ desiredStatus }) => desiredStatus === 'RUNNING');
    const definition = this.definition(service.family);
    for (let i = alive.length; i < service.desiredCount; i++) this.begin(definition, service.cluster, { service });
    const stoppable = alive.filter((task) => !isProtected(task)).reverse();
    const reason = `Scaling activity initiated by (deployment ecs-svc/${service.name})`;
    for (const task of stoppable.slice(0, Math.max(0, alive.length - service.desiredCount)))
      void this.stopTask(task, 'ServiceSchedulerInitiated', reason);
  }

  #change(task: TestTask, status: TestTask['status']): void {
    task.status = status;
    task.version += 1;
    for (const listener of this.#listeners) listener(stateChange(task, this));
  }

  cluster(given: string | undefined): string {
    const name = nameIn(given ?? 'default');
    if (!this.#clusters.has(name)) throw new AwsRefusal('ClusterNotFoundException', 'Cluster not found.');
    return name;
  }

  definition(given: string): TestTaskDefinition {
    const definition = this.#definitions.get(nameIn(given).replace(/:\d+$/, ''));
    if (!definition) throw new AwsRefusal('ClientException', 'Unable to describe task definition.');
    return definition;
  }

  find(task: string, cluster: string): TestTask | undefined {
    const found = this.tasks.get(nameIn(task));
    return found?.cluster === cluster ? found : undefined;
  }

  task(task: string | undefined, cluster: string): TestTask {
    const found = this.find(task ?? '', cluster);
    if (!found) throw invalid('The referenced task was not found.');
    return found;
  }

  taskArn(task: string, cluster: string): string {
    return task.startsWith('arn:') ? task : arnOf(this, `task/${cluster}/${task}`);
  }
}

function isProtected({ protectedUntil }: TestTask): boolean {
  return protectedUntil !== undefined && protectedUntil > Date.now();
}
