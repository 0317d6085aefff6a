import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { SignatureSender } from '../../canvas/canvas.ts';
import { type Group, group } from '../../canvas/group.ts';
import { Signature } from '../../canvas/signature.ts';
import { ArgumentsError, ConfigError } from '../../errors.ts';
import type { Config } from '../config.ts';
import type { AsyncResult } from '../results/result.ts';
import type { TaskContext } from './current-task.ts';
import type { TaskHooks } from './hooks.ts';
import { bindArguments, declaredParams, type Params, paramsOf } from './params.ts';
import { validateArguments } from './schema.ts';
import type { TaskBase } from './task-base.ts';
import { type CallOptions, type EagerOptions, type TaskOptions, taskOptionTable } from './task-options.ts';

// biome-ignore lint/suspicious/noExplicitAny: the parameters of somebody else's function; each task's own types are kept by `Task`.
export type TaskFunction = (...args: any[]) => unknown;

/** A registered task. Calling it runs its body here and now; its methods send it to a worker. */
export interface Task<Args extends readonly unknown[] = readonly unknown[], Result = unknown> {
  (...args: Args): Result | Promise<Result>;
  /** The name it travels under. */
  readonly name: string;
  readonly options: TaskOptions;

  /** Sends it. Resolves once the broker has confirmed. */
  delay(...args: Args): Promise<AsyncResult<Result>>;
  /** Sends it with options. Arguments that come by keyword may be left out of the list. */
  applyAsync(args: Args | ArgsByKeyword, options?: CallOptions): Promise<AsyncResult<Result>>;
  /** Sends one call for each list of arguments, in large batches. */
  applyMany(calls: readonly Args[], options?: Omit<CallOptions, 'taskId'>): Promise<AsyncResult<Result>[]>;
  /**
   * Runs it here and now, in this process, as a worker would, without a broker or a worker; retries, links and errbacks at
   * once. Resolves when all has ended; the handle has what came of it.
   * @throws with `throw` what the first task that failed threw
   */
  apply(args: Args | ArgsByKeyword, options?: EagerOptions): Promise<AsyncResult<Result>>;
  /** A signature with all or the last of its arguments. */
  s<const Given extends Last<Args>>(...args: Given): Signature<Missing<Args, Given>, Result>;
  /** An immutable signature: it takes no result of a task before it. */
  si(...args: Args): Signature<[], Result>;
  /** One task that calls this one for each item, in one run, and returns the list of what it returns. */
  map(items: readonly Args[0][]): Signature<[], Result[]>;
  /** The same, with a list of arguments for each call. */
  starmap(calls: readonly Args[]): Signature<[], Result[]>;
  /** A group of `starmap`s of `size` calls each. */
  chunks(calls: readonly Args[], size: number): Group<[], Result[][]>;
}

/** An empty list, where `kwargs` has the arguments. */
export type ArgsByKeyword = readonly [];

/** The ways to give the last of some arguments, or all of them, or none. */
export type Last<Args extends readonly unknown[]> = Args extends readonly [unknown, ...infer Rest]
  ? Args | Last<Rest>
  : Args | [];

/** The arguments still missing in front of those given, as Celery fills signatures. */
export type Missing<Args extends readonly unknown[], Given extends readonly unknown[]> = Given extends readonly [
  unknown,
  ...infer More,
]
  ? Args extends readonly [...infer Front, unknown]
    ? Missing<Front, More>
    : []
  : Args;

/** What the worker needs of a task. */
export interface TaskDefinition {
  readonly name: string;
  readonly fn: TaskFunction;
  readonly options: TaskOptions;
  /** The layers of hooks around the body, the outermost first; those of the application included. */
  readonly hooks: readonly TaskHooks[];
  /** The layers of the task itself. */
  readonly ownHooks: readonly TaskHooks[];
  /** What a bound body gets in place of the context, where the task has a class. */
  readonly self: (() => TaskBase) | undefined;
  /** Where it was registered, as far as that was watched. */
  readonly file: string | undefined;
  /** Lays arguments onto parameters and checks the schema. `strict` also reports missing arguments. */
  bind(
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    strict: boolean,
  ): readonly unknown[] | Promise<readonly unknown[]>;
}

/** Makes a definition; options are checked by the caller. */
export function makeDefinition(
  own: Pick<TaskDefinition, 'name' | 'fn' | 'options' | 'hooks' | 'ownHooks' | 'self' | 'file'>,
): TaskDefinition {
  const { name, fn, options } = own;
  const { schema } = options;
  const params: Params = options.params ? declaredParams(options.params) : paramsOf(fn, options.bind ? 1 : 0);
  return {
    ...own,
    bind(args, kwargs, strict) {
      const bound = bindArguments(name, params, args, kwargs, strict || params.declared);
      return schema ? validateArguments(name, schema, bound) : bound;
    },
  };
}

/** Option of a task, with the table's default. */
export function taskOption<N extends keyof TaskOptions>(options: TaskOptions, name: N): TaskOptions[N] {
  const row: { default?: unknown } = taskOptionTable[name];
  return options[name] ?? (row.default as TaskOptions[N]);
}

/** What a task handle needs of its application. */
export interface TaskSender extends SignatureSender {
  sendTask(name: string, args: readonly unknown[], options?: CallOptions): Promise<AsyncResult>;
  sendMany(name: string, calls: readonly (readonly unknown[])[], options?: CallOptions): Promise<AsyncResult[]>;
}

/** How often a message of this task may be delivered; where retries are deliveries, too, they come on top. */
export function deliveryLimit(
  definition: TaskDefinition | undefined,
  config: Pick<Config, 'taskMaxDeliveries'>,
  { ordered }: { readonly ordered?: boolean },
): number {
  const limit = definition?.options.maxDeliveries ?? config.taskMaxDeliveries;
  if (!ordered) return limit;
  return limit + (taskOption(definition?.options ?? {}, 'maxRetries') ?? Number.POSITIVE_INFINITY);
}

/** The callable handle that applications hold. */
export function taskHandle(
  app: TaskSender,
  { name, fn, options, self }: TaskDefinition,
  localContext: () => TaskContext,
): Task {
  const call = (...args: readonly unknown[]) =>
    options.bind ? fn(self ? self() : localContext(), ...args) : fn(...args);
  const overItems = (task: string, it: readonly unknown[]) =>
    new Signature(app, task, [], { kwargs: { task: new Signature(app, name, []).toWire(), it } }, { immutable: true });
  const methods = {
    options,
    delay: (...args: readonly unknown[]) => app.sendTask(name, args),
    applyAsync: (args: readonly unknown[], callOptions?: CallOptions) => app.sendTask(name, args, callOptions),
    applyMany: (calls: readonly (readonly unknown[])[], callOptions?: CallOptions) =>
      app.sendMany(name, calls, callOptions),
    apply: async (args: readonly unknown[], eagerOptions: EagerOptions = {}) => {
      if (!Array.isArray(args))
        throw new ArgumentsError(
          `${name}.apply: expected a list of arguments, got ${args === null ? 'null' : typeof args}; to call the function itself write ${name}(...args)`,
        );
      return new Signature<[], unknown>(app, name, args).apply([], eagerOptions);
    },
    s: (...args: readonly unknown[]) => new Signature(app, name, args),
    si: (...args: readonly unknown[]) => new Signature(app, name, args, {}, { immutable: true }),
    map: (items: readonly unknown[]) => overItems('celery.map', items),
    starmap: (calls: readonly unknown[]) => overItems('celery.starmap', calls),
    chunks: (calls: readonly unknown[], size: number) => {
      if (!Number.isInteger(size) || size < 1)
        throw new ConfigError(`${name}.chunks: expected a whole number of calls from 1 up, got ${size}`);
      const count = Math.ceil(calls.length / size);
      const parts = Array.from({ length: count }, (_, i) => calls.slice(i * size, (i + 1) * size));
      return group(parts.map((part) => overItems('celery.starmap', part)));
    },
  };
  Object.defineProperty(call, 'name', { value: name });
  return Object.assign(call, methods) as unknown as Task;
}

/** The arguments that a schema lets through to the task. */
export type SchemaArgs<S extends StandardSchemaV1> =
  StandardSchemaV1.InferOutput<S> extends infer A extends readonly unknown[] ? A : never;
