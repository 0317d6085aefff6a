import { nearest } from '../../util/nearest.ts';
import { checkOptions } from '../../util/options.ts';
import type { LovageApp } from '../app.ts';
import { localContext } from '../local-context.ts';
import { currentRunning } from './current-task.ts';
import { Discovery, nameTaken } from './discovery.ts';
import { hooksAmong, hookTable, type TaskHooks } from './hooks.ts';
import { makeDefinition, type Task, type TaskDefinition, type TaskFunction, taskHandle } from './task.ts';
import { classHooks, TaskInstances } from './task-base.ts';
import { allOptions, type Inherited, type TaskMaker, taskMaker } from './task-maker.ts';
import { checkTimeLimits, type TaskOptions } from './task-options.ts';

/** The tasks of an application: by name, with what is around their bodies, and where they are found. */
export class TaskRegistry {
  readonly make: TaskMaker = taskMaker((...one) => this.#register(...one));
  readonly instances = new TaskInstances();
  readonly discovery = new Discovery();
  readonly #app: LovageApp;
  readonly #tasks = new Map<string, TaskDefinition>();
  readonly #hooks: TaskHooks[] = [];

  constructor(app: LovageApp) {
    this.#app = app;
  }

  get tasks(): ReadonlyMap<string, TaskDefinition> {
    return this.#tasks;
  }

  /** Puts a layer of hooks around all tasks, inside of the layers put there before. */
  use(hooks: TaskHooks): void {
    checkOptions(hookTable, hooks, 'app.use');
    const layer = hooksAmong(hooks);
    if (!layer) return;
    this.#hooks.push(layer);
    for (const [name, task] of this.#tasks)
      this.#tasks.set(name, { ...task, hooks: [...this.#hooks, ...task.ownHooks] });
  }

  /** Imports the task files that were not imported yet. */
  load(): Promise<void> {
    return this.discovery.load(this.#tasks, this.#app.logger);
  }

  /** The name nearest to one that is not registered. */
  nearest(name: string): string | undefined {
    return nearest(name, [...this.#tasks.keys()]);
  }

  #register(name: string, own: TaskOptions, fn: TaskFunction, inherited: Inherited): Task {
    const app = this.#app;
    const options = allOptions(own, inherited);
    // Each may be right where it was written.
    checkTimeLimits(`task '${name}', with what it inherits`, options);
    const file = this.discovery.registering();
    const taken = this.#tasks.get(name);
    if (taken) throw nameTaken(taken, file);
    const { base } = options;
    const self = base && (() => this.instances.get({ app, name }, base));
    const layers = [...inherited.hooks, hooksAmong(own), base && self && classHooks(base, self)];
    const ownHooks = layers.filter((layer) => layer !== undefined);
    const hooks = [...this.#hooks, ...ownHooks];
    const definition = makeDefinition({ name, fn, options, hooks, ownHooks, self, file });
    this.#tasks.set(name, definition);
    return taskHandle(app, definition, () => currentRunning()?.context ?? localContext(name, app.logger));
  }
}
