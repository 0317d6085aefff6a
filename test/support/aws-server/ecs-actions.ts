/** The actions of ECS that the test server knows. */
import type * as Ecs from '@aws-sdk/client-ecs';
import type { TestEcs } from './ecs.ts';
import { checkRunTask } from './ecs-limits.ts';
import { arnOf, describeService, describeTask } from './ecs-model.ts';
import { AwsRefusal } from './faults.ts';
import type { Actions } from './server.ts';

export function ecsActions(ecs: TestEcs): Actions {
  const runs = new Runs(ecs);
  return {
    RunTask: (input: Ecs.RunTaskRequest) => runs.run(input),
    StopTask: ({ task, cluster, reason }: Ecs.StopTaskRequest) => {
      const found = ecs.task(task, ecs.cluster(cluster));
      void ecs.stopTask(found, 'UserInitiated', reason ?? 'Task stopped by user');
      return { task: describeTask(found, ecs) };
    },
    ListTasks: (input: Ecs.ListTasksRequest) => listTasks(ecs, input),
    DescribeTasks: ({ tasks = [], cluster }: Ecs.DescribeTasksRequest) => {
      if (tasks.length > 100) throw invalid('tasks can have at most 100 items');
      const name = ecs.cluster(cluster);
      const found = tasks.map((task) => ecs.find(task, name));
      return {
        tasks: found.flatMap((task) => (task ? [describeTask(task, ecs)] : [])),
        failures: tasks.flatMap((task, i) => (found[i] ? [] : [{ arn: ecs.taskArn(task, name), reason: 'MISSING' }])),
      };
    },
    DescribeServices: ({ services = [], cluster }: Ecs.DescribeServicesRequest) => {
      if (services.length > 10) throw invalid('services can have at most 10 items');
      const name = ecs.cluster(cluster);
      const found = services.map((service) => ecs.services.get(`${name}/${nameIn(service)}`));
      return {
        services: found.flatMap((service) => (service ? [describeService(service, ecs.tasksOf(service), ecs)] : [])),
        failures: services.flatMap((service, i) =>
          found[i] ? [] : [{ arn: arnOf(ecs, `service/${name}/${nameIn(service)}`), reason: 'MISSING' }],
        ),
      };
    },
    UpdateService: ({ service, cluster, desiredCount, taskDefinition }: Ecs.UpdateServiceRequest) => {
      const found = ecs.services.get(`${ecs.cluster(cluster)}/${nameIn(service ?? '')}`);
      if (!found) throw new AwsRefusal('ServiceNotFoundException', 'Service not found.');
      if (taskDefinition !== undefined) found.family = ecs.definition(taskDefinition).family;
      if (desiredCount !== undefined) ecs.setDesired(found, desiredCount);
      return { service: describeService(found, ecs.tasksOf(found), ecs) };
    },
    UpdateTaskProtection: (input: Ecs.UpdateTaskProtectionRequest) => updateProtection(ecs, input),
  };
}

interface Answered {
  readonly request: string;
  readonly taskArns: readonly string[];
}

/** RunTask: remembers what it did for each client token, and is throttled. */
class Runs {
  readonly #ecs: TestEcs;
  readonly #tokens = new Map<string, Answered>();
  #bucket: { tokens: number; at: number };

  constructor(ecs: TestEcs) {
    this.#ecs = ecs;
    this.#bucket = { tokens: ecs.runTasksPerSecond, at: Date.now() };
  }

  run(input: Ecs.RunTaskRequest): object {
    const ecs = this.#ecs;
    const cluster = ecs.cluster(input.cluster);
    const definition = ecs.definition(input.taskDefinition ?? '');
    checkRunTask(input, definition);
    const { clientToken, count = 1, ...rest } = input;
    const request = JSON.stringify({ ...rest, count });
    const before = clientToken === undefined ? undefined : this.#tokens.get(`${cluster} ${clientToken}`);
    if (before) return this.#again(before, request);
    this.#takeToken();
    const tasks = Array.from({ length: count }, () => ecs.begin(definition, cluster, { input }));
    if (clientToken !== undefined)
      this.#tokens.set(`${cluster} ${clientToken}`, { request, taskArns: tasks.map(({ arn }) => arn) });
    return { tasks: tasks.map((task) => describeTask(task, ecs)), failures: [] };
  }

  #again({ request, taskArns }: Answered, now: string): object {
    if (request !== now)
      throw new AwsRefusal('ConflictException', 'The clientToken was used with other parameters', {
        resourceIds: taskArns,
      });
    const tasks = taskArns.flatMap((arn) => this.#ecs.tasks.get(nameIn(arn)) ?? []);
    return { tasks: tasks.map((task) => describeTask(task, this.#ecs)), failures: [] };
  }

  #takeToken(): void {
    const { runTasksPerSecond: perSecond } = this.#ecs;
    if (perSecond === Number.POSITIVE_INFINITY) return;
    const now = Date.now();
    const tokens = Math.min(perSecond, this.#bucket.tokens + ((now - this.#bucket.at) / 1000) * perSecond);
    if (tokens < 1) throw new AwsRefusal('ThrottlingException', 'Rate exceeded');
    this.#bucket = { tokens: tokens - 1, at: now };
  }
}

function listTasks(ecs: TestEcs, input: Ecs.ListTasksRequest): object {
  const { cluster, family, startedBy, serviceName, desiredStatus = 'RUNNING', maxResults = 100, nextToken } = input;
  const name = ecs.cluster(cluster);
  if (maxResults < 1 || maxResults > 100) throw invalid('maxResults must be 1 to 100');
  const from = Number(nextToken ?? 0);
  const all = [...ecs.tasks.values()].filter(
    (task) =>
      task.cluster === name &&
      task.desiredStatus === desiredStatus &&
      (family === undefined || task.family === family) &&
      (startedBy === undefined || task.startedBy === startedBy) &&
      (serviceName === undefined || task.service?.name === nameIn(serviceName)),
  );
  const next = from + maxResults;
  return {
    taskArns: all.slice(from, next).map(({ arn }) => arn),
    ...(next < all.length && { nextToken: String(next) }),
  };
}

function updateProtection(ecs: TestEcs, input: Ecs.UpdateTaskProtectionRequest): object {
  const { cluster, tasks = [], protectionEnabled = false, expiresInMinutes = 120 } = input;
  const name = ecs.cluster(cluster);
  if (tasks.length > 10) throw invalid('tasks can have at most 10 items');
  if (expiresInMinutes < 1 || expiresInMinutes > 2880) throw invalid('expiresInMinutes must be 1 to 2880');
  const results = tasks.map((task) =>
    ecs.protect(ecs.task(task, name), { enabled: protectionEnabled, minutes: expiresInMinutes }),
  );
  return {
    protectedTasks: results.flatMap(({ protectedTask }) => (protectedTask ? [lowerCased(protectedTask)] : [])),
    failures: results.flatMap(({ failure }) => (failure ? [lowerCased(failure)] : [])),
  };
}

/** The last part of an ARN; a name as it is. */
export function nameIn(given: string): string {
  return given.startsWith('arn:') ? (given.split('/').at(-1) ?? '') : given;
}

export function invalid(message: string): AwsRefusal {
  return new AwsRefusal('InvalidParameterException', message);
}

/** As the API spells the agent's names; instants in seconds. */
function lowerCased(object: object): object {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [
      `${key.charAt(0).toLowerCase()}${key.slice(1)}`,
      key === 'ExpirationDate' ? new Date(String(value)).getTime() / 1000 : value,
    ]),
  );
}
