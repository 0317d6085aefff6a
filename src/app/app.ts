import type { Canvas, Sent, SignatureSender } from '../canvas/canvas.ts';
import { signatureFromWire } from '../canvas/from-wire.ts';
import { Signature } from '../canvas/signature.ts';
import type { ResultBackend } from '../contracts/backend.ts';
import type { Broker } from '../contracts/broker.ts';
import { ConfigError } from '../errors.ts';
import { callerFiles } from '../util/import-file.ts';
import { checkOptions } from '../util/options.ts';
import { type ResultNode, toTuple } from '../wire/result-tuple.ts';
import { loadSerializers } from '../wire/serializers.ts';
import { type Config, configTable, type ErrorClass, type LovageOptions, resolveConfig } from './config.ts';
import { type Connections, connect, type Drivers, makeStores } from './connections.ts';
import { type EagerRunner, EagerStores, eagerParts } from './eager.ts';
import { type Logger, streamLogger } from './logger.ts';
import { type Resource, type ResourceOptions, Resources } from './resource.ts';
import { type GroupResult, restoreGroup } from './results/group-result.ts';
import { AsyncResult, type ResultSource } from './results/result.ts';
import { resultHandle } from './results/result-handle.ts';
import { Results } from './results/results.ts';
import { type RevokeOptions, revokeTasks } from './results/revoke.ts';
import { checkLinks, sendCanvas } from './sending/canvas-sender.ts';
import { routeOf } from './sending/launch.ts';
import { type Prepared, Preparer } from './sending/prepare.ts';
import { Publisher } from './sending/publisher.ts';
import { Router } from './sending/router.ts';
import { currentRunning } from './tasks/current-task.ts';
import type { DiscoveryOptions } from './tasks/discovery.ts';
import type { TaskHooks } from './tasks/hooks.ts';
import type { TaskDefinition } from './tasks/task.ts';
import type { TaskInstances } from './tasks/task-base.ts';
import type { TaskMaker } from './tasks/task-maker.ts';
import { type CallOptions, callOptionTable, type EagerOptions, type Sendable } from './tasks/task-options.ts';
import { TaskRegistry } from './tasks/task-registry.ts';
import { sendUnique } from './tasks/unique.ts';
import { type WorkerEvent, type WorkerListener, WorkerListeners } from './worker-events.ts';

/** An application's open connections, with what writes to them. */
export interface Running extends Connections {
  readonly publisher: Publisher;
  readonly results: Results;
}

/**
 * An application: its tasks, its configuration and its connections. Connections are opened by the first use and closed by
 * `close()`; an application that only sends to SQLite need not be closed for the process to exit.
 */
export class LovageApp implements SignatureSender, ResultSource, AsyncDisposable {
  readonly name: string;
  /** For the worker: who listens to its life, and what lives as long as it. */
  readonly listeners = new WorkerListeners();
  readonly resources = new Resources(() => this.logger);
  readonly #drivers: Drivers;
  readonly #runEagerly: EagerRunner;
  /** For eager runs: where they keep results. */
  readonly eagerStores: EagerStores;
  readonly #registry = new TaskRegistry(this);
  readonly #preparer: Preparer;
  readonly #errorClasses = new Map<string, ErrorClass>();
  /** The file in which the application is made; `undefined` where nobody knows. */
  readonly file: string | undefined = callerFiles()[0];
  #overrides: { readonly broker?: string; readonly backend?: string | false } = {};
  #config: Config;
  #logger: Logger;
  #front: (broker: Broker) => Broker = (broker) => broker;
  #running: Promise<Running> | undefined;

  /** @throws ConfigError for a wrong or unknown option, here or in the environment */
  constructor(name: string, options: LovageOptions, drivers: Drivers, runEagerly: EagerRunner) {
    if (typeof name !== 'string' || name === '')
      throw new ConfigError(`an application needs a name, got ${JSON.stringify(name)}`);
    const { config, warnings } = resolveConfig(options, process.env);
    this.name = name;
    this.task = this.#registry.make;
    this.defineTask = this.task.defineTask;
    this.#config = config;
    this.#logger = config.logger ?? streamLogger();
    this.#drivers = drivers;
    this.#runEagerly = runEagerly;
    this.eagerStores = new EagerStores(drivers, () => this.#config);
    this.#preparer = new Preparer(config, new Router(config));
    for (const errorClass of config.errors) this.#errorClasses.set(errorClass.name, errorClass);
    for (const warning of warnings) this.logger.warn({}, warning);
  }

  get config(): Config {
    return this.#config;
  }

  get logger(): Logger {
    return this.#logger;
  }

  /** What {@link override} has changed that another process can be told. */
  get overrides(): { readonly broker?: string; readonly backend?: string | false } {
    return this.#overrides;
  }

  /**
   * Replaces where the application connects and logs, whatever its code says. For programs that run somebody else's
   * application, such as the command line with `-b`.
   * @throws ConfigError for a wrong value, or once a connection was asked for
   */
  override(changes: Pick<LovageOptions, 'broker' | 'backend' | 'logger'>): void {
    checkOptions(configTable, changes, 'app.override');
    if (this.#running)
      throw new ConfigError(`app.override: '${this.name}' is connected already; call it before the first use`);
    const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
    this.#config = { ...this.#config, ...given };
    const { broker, backend } = this.#config;
    if (typeof given.broker === 'string' && typeof broker === 'string')
      this.#overrides = { ...this.#overrides, broker };
    if (given.backend !== undefined && (typeof backend === 'string' || backend === false))
      this.#overrides = { ...this.#overrides, backend };
    this.#logger = this.#config.logger ?? this.#logger;
  }

  /**
   * Puts something in front of the broker, from the first use on. For programs that run somebody else's application, such
   * as one that hands a worker a single message.
   * @throws ConfigError once a connection was asked for
   */
  frontBroker(front: (broker: Broker) => Broker): void {
    if (this.#running)
      throw new ConfigError(`app.frontBroker: '${this.name}' is connected already; call it before the first use`);
    this.#front = front;
  }

  // --- Tasks ---

  /**
   * Registers a task: `app.task(name, fn)` or `app.task(name, options, fn)`. Its function's types become those of `delay()`
   * and of the result.
   */
  readonly task: TaskMaker;
  /** Gives a maker of tasks, to be used as `app.task` is, whose tasks share options and hooks. */
  readonly defineTask: TaskMaker['defineTask'];

  /**
   * Puts hooks around every task of the application, outside of the tasks' own; a later call inside of an earlier one.
   * @throws ConfigError for what is no hook
   */
  use(hooks: TaskHooks): void {
    this.#registry.use(hooks);
  }

  /**
   * Says by glob patterns which files register tasks, such as `tasks.ts` in every folder of `apps`. They are imported when
   * a worker or the command line starts, or by `loadTasks()`: not at once, for they import the file that calls this.
   * @throws ConfigError for patterns or a place that are none
   */
  autodiscoverTasks(patterns: readonly string[], options: DiscoveryOptions): void {
    this.#registry.discovery.add(patterns, options);
  }

  /**
   * Imports the files that `autodiscoverTasks` named and that were not imported yet, sorted by path.
   * @throws ConfigError for a pattern that matches no file, and for a file that throws
   * @throws TaskRegistryError for a task name in two files
   */
  async loadTasks(): Promise<void> {
    await this.#registry.load();
    if (this.#running) await loadSerializers(this.#ownSerializers());
  }

  /** Registered tasks by name. */
  get tasks(): ReadonlyMap<string, TaskDefinition> {
    return this.#registry.tasks;
  }

  // --- Sending ---

  /** Sends a task by name; its code need not be here. */
  async sendTask<R = unknown>(
    name: string,
    args: readonly unknown[] = [],
    options: CallOptions = {},
  ): Promise<AsyncResult<R>> {
    checkOptions(callOptionTable, options, name);
    const definition = this.tasks.get(name);
    const checked = definition?.options.schema ? await this.#checked(definition, args, options) : args;
    if (this.config.taskAlwaysEager) return this.#applyTask<R>(name, checked, options);
    const { definition: own, ...route } = routeOf(this, { task: name, kwargs: options.kwargs ?? {} }, options);
    const prepared = this.#preparer.call(name, checked, { ...options, ...route }, own);
    if (options.link || options.linkError) await checkLinks(this, options);
    const [id] = await this.#sendCalls([prepared], options, definition);
    return this.#resultOf<R>(prepared, id);
  }

  /** Sends one task many times, in large batches; results are in the order of the calls. */
  async sendMany<R = unknown>(
    name: string,
    calls: readonly (readonly unknown[])[],
    options: CallOptions = {},
  ): Promise<AsyncResult<R>[]> {
    checkOptions(callOptionTable, options, name);
    if (options.taskId !== undefined)
      throw new ConfigError(`${name}: one taskId cannot serve ${calls.length} calls; leave it out`);
    const definition = this.tasks.get(name);
    const checked = definition?.options.schema
      ? await Promise.all(calls.map((args) => this.#checked(definition, args, options)))
      : calls;
    if (this.config.taskAlwaysEager) {
      const results: AsyncResult<R>[] = [];
      for (const args of checked) results.push(await this.#applyTask<R>(name, args, options));
      return results;
    }
    const prepared = checked.map((args) => this.#preparer.call(name, args, options, definition?.options));
    if (options.link || options.linkError) await checkLinks(this, options);
    const ids = await this.#sendCalls(prepared, options, definition);
    return prepared.map((one, i) => this.#resultOf<R>(one, ids[i]));
  }

  /** Sends calls of one task. Returns the ids of the tasks that answer for them: where it is unique, perhaps others. */
  async #sendCalls(
    prepared: readonly Prepared[],
    options: CallOptions,
    definition: TaskDefinition | undefined,
  ): Promise<readonly string[]> {
    const { unique } = definition?.options ?? {};
    if (definition && unique)
      return sendUnique(prepared, definition, unique, await this.results(), (some) => this.send(some, options));
    await this.send(prepared, options);
    return prepared.map(({ message }) => message.id);
  }

  #resultOf<R>({ message: { id: own, task, ignoreResult } }: Prepared, id = own): AsyncResult<R> {
    const stores = this.tasks.get(task)?.options.storeErrorsEvenIfIgnored;
    const ignored = ignoreResult && !(stores ?? this.config.taskStoreErrorsEvenIfIgnored);
    return new AsyncResult<R>(id, this, { ignored });
  }

  /** Sends a signature; `args` are complete. */
  sendSignature<R>(
    signature: Sendable & { readonly task: string },
    args: readonly unknown[],
    options: CallOptions,
  ): Promise<AsyncResult<R>> {
    return this.sendTask<R>(signature.task, args, options);
  }

  /** Sends a chain, a group or a chord. */
  sendCanvas(canvas: Sendable, args: readonly unknown[], options: CallOptions): Promise<Sent> {
    if (!this.config.taskAlwaysEager) return sendCanvas(this, canvas, args, options);
    const { retry: _retry, retryPolicy: _policy, ...others } = options;
    return this.applyCanvas(canvas, args, others);
  }

  /** Runs a signature here and now. */
  applyCanvas(canvas: Sendable, args: readonly unknown[], options: EagerOptions): Promise<Sent> {
    return this.#runEagerly(this, canvas, args, options);
  }

  async #applyTask<R>(name: string, args: readonly unknown[], options: CallOptions): Promise<AsyncResult<R>> {
    const { own, run } = eagerParts(options);
    return (await this.applyCanvas(new Signature(this, name, args, own), [], run)) as AsyncResult<R>;
  }

  get tellsHeaders(): boolean {
    return this.config.taskAllowErrorCbOnChordHeader;
  }

  /**
   * A signature of a task by its name, or one that was stored or sent in Celery's own form.
   * @throws DecodeError for a value that is no signature
   */
  signature(task: string, args?: readonly unknown[], options?: CallOptions): Signature<never, unknown>;
  signature(wire: Readonly<Record<string, unknown>>): Canvas<[], unknown>;
  signature(what: unknown, args: readonly unknown[] = [], options: CallOptions = {}): Canvas {
    return typeof what === 'string' ? new Signature(this, what, args, options) : signatureFromWire(this, what);
  }

  /** Brings prepared messages to the broker, and notes them as children of the task that runs here. */
  async send(
    prepared: readonly Prepared[],
    options: Pick<CallOptions, 'retry' | 'retryPolicy' | 'signal'> = {},
  ): Promise<void> {
    const { publisher } = await this.connections();
    await publisher.publishMany(prepared, options);
    const parent = currentRunning();
    for (const { message } of parent ? prepared : []) parent?.children.push(toTuple({ id: message.id }));
  }

  /** The schema's view of arguments, given before anything is sent. */
  async #checked(
    definition: TaskDefinition,
    args: readonly unknown[],
    options: CallOptions,
  ): Promise<readonly unknown[]> {
    await definition.bind(args, options.kwargs ?? {}, false);
    return args;
  }

  // --- Results ---

  /** A handle on a task that was sent before, by its id. */
  result<R = unknown>(taskId: string): AsyncResult<R> {
    if (typeof taskId !== 'string' || taskId === '')
      throw new ConfigError(`app.result: expected a task id, got ${JSON.stringify(taskId)}`);
    return new AsyncResult<R>(taskId, this);
  }

  /** A handle on a tree of results. */
  handle(node: ResultNode): AsyncResult | GroupResult {
    return resultHandle(node, this);
  }

  /**
   * The group of an id that was saved, by `GroupResult.save()` or by Celery; `undefined` where there is none (any more).
   * It has the groups that are in it, and what it continues.
   */
  groupResult(groupId: string): Promise<GroupResult | undefined> {
    return restoreGroup(groupId, this);
  }

  /**
   * Has workers skip tasks that have not begun, those that are not up yet, too. With `terminate` it ends those that run.
   * What has finished stays as it is.
   */
  async revoke(taskIds: string | readonly string[], options: RevokeOptions = {}): Promise<void> {
    await revokeTasks(await this.connections(), taskIds, options);
  }

  get errorClasses(): ReadonlyMap<string, ErrorClass> {
    return this.#errorClasses;
  }

  async results(): Promise<Results> {
    return (await this.connections()).results;
  }

  // --- The life of a worker ---

  /** Instances of task classes in this process. */
  get taskInstances(): TaskInstances {
    return this.#registry.instances;
  }

  /**
   * Has a function called at a point in the life of this application's workers. Listeners are called one after the other,
   * each awaited. Returns what ends the listening.
   * @throws ConfigError for an event that does not exist
   */
  on(event: WorkerEvent, listener: WorkerListener): () => void {
    return this.listeners.add(event, listener);
  }

  /**
   * Something that each process of a worker has one of, such as a pool of connections: opened by `make` before its first
   * task, closed after its last.
   * @throws ConfigError for a name that is taken
   */
  resource<T>(name: string, make: () => T | Promise<T>, options: ResourceOptions<NoInfer<T>> = {}): Resource<T> {
    return this.resources.add(name, make, options);
  }

  // --- Connections ---

  /** Opens the broker and the result backend, once. */
  connections(): Promise<Running> {
    if (!this.#running) {
      const starting = this.#connect();
      this.#running = starting;
      starting.catch(() => {
        if (this.#running === starting) this.#running = undefined;
      });
    }
    return this.#running;
  }

  /** Makes the broker and the result backend once more and starts neither, for who looks after them. */
  stores(): Promise<Connections> {
    return makeStores(this.config, this.#drivers);
  }

  async broker(): Promise<Broker> {
    return (await this.connections()).broker;
  }

  async backend(): Promise<ResultBackend | undefined> {
    return (await this.connections()).backend;
  }

  get preparer(): Preparer {
    return this.#preparer;
  }

  /** Closes what is open. The application may be used again; it opens anew. */
  async close(): Promise<void> {
    await this.resources.closeOpened();
    await this.eagerStores.close();
    const running = this.#running;
    this.#running = undefined;
    // What could not be opened need not be closed; whoever asked for it was told.
    const connections = await running?.catch(() => undefined);
    await Promise.all([connections?.broker.stop(), connections?.backend?.stop()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #connect(): Promise<Running> {
    const { config } = this;
    await this.loadSerializers();
    const { broker: real, backend } = await connect(config, this.#drivers);
    const connections = { broker: this.#front(real), backend };
    return {
      ...connections,
      publisher: new Publisher(connections.broker, config),
      results: new Results(connections.backend, config),
    };
  }

  /** Loads what messages and results are written with. */
  async loadSerializers(): Promise<void> {
    const { taskSerializer, resultSerializer, acceptContent } = this.config;
    await loadSerializers([taskSerializer, resultSerializer, ...acceptContent, ...this.#ownSerializers()]);
  }

  #ownSerializers(): string[] {
    return [...this.tasks.values()].flatMap(({ options }) => options.serializer ?? []);
  }

  /** The name nearest to one that is not registered, for messages. */
  nearestTask(name: string): string | undefined {
    return this.#registry.nearest(name);
  }
}
