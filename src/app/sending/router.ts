import type { Config, Route } from '../config.ts';

/** What a call or a task says about its way; options that are not given may be `undefined`. */
interface Preference {
  readonly queue?: string | undefined;
  readonly priority?: number | undefined;
  /** Of a task: it has another default queue. */
  readonly runOn?: 'ecs' | undefined;
}

/** Decides the queue and the priority of a call: the call's own, then the task's, then the routes, then the defaults. */
export class Router {
  readonly #routes: readonly (readonly [pattern: RegExp, route: Route])[];
  readonly #cache = new Map<string, Route>();
  readonly #default: Required<Route>;
  readonly #ecsQueue: string;

  constructor(config: Pick<Config, 'taskRoutes' | 'taskDefaultQueue' | 'taskEcsQueue' | 'taskDefaultPriority'>) {
    this.#routes = Object.entries(config.taskRoutes).map(([pattern, route]) => [globPattern(pattern), route]);
    this.#ecsQueue = config.taskEcsQueue;
    this.#default = { queue: config.taskDefaultQueue, priority: config.taskDefaultPriority };
  }

  route(task: string, call: Preference, own: Preference | undefined): Required<Route> {
    const queue = call.queue ?? own?.queue;
    const priority = call.priority ?? own?.priority;
    if (queue !== undefined && priority !== undefined) return { queue, priority };
    const routed = this.#routed(task);
    return {
      queue: queue ?? routed.queue ?? (own?.runOn === 'ecs' ? this.#ecsQueue : this.#default.queue),
      priority: priority ?? routed.priority ?? this.#default.priority,
    };
  }

  #routed(task: string): Route {
    let route = this.#cache.get(task);
    if (!route) {
      route = this.#routes.find(([pattern]) => pattern.test(task))?.[1] ?? {};
      if (this.#cache.size < 10_000) this.#cache.set(task, route);
    }
    return route;
  }
}

/** A task name pattern: `*` stands for any text, everything else for itself. */
export function globPattern(pattern: string): RegExp {
  return new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
      .join('.*')}$`,
  );
}
