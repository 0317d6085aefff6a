import type { TaskHost } from '../../app/host.ts';
import { laterTask, lookUpLater } from '../../app/results/later.ts';
import { currentTask, type TaskContext } from '../../app/tasks/current-task.ts';
import { makeDefinition, type TaskDefinition, type TaskFunction } from '../../app/tasks/task.ts';
import type { TaskOptions } from '../../app/tasks/task-options.ts';
import { signatureFromWire } from '../../canvas/from-wire.ts';
import { chordOf, groupOf, isMap, taskOf, withOptions } from '../../canvas/wire-tree.ts';
import { isFinished } from '../../contracts/backend.ts';
import { ArgumentsError, NotRegisteredError, NotSupportedError, Replaced } from '../../errors.ts';
import { fromTuple, type ResultTuple, taskIdsOf, toTuple } from '../../wire/result-tuple.ts';
import { readSignature } from '../../wire/task-fields.ts';
import type { WireSignature } from '../../wire/task-message.ts';
import { Chords } from '../settling/chords.ts';

/** A task that a worker has: one of the application, or one of those that each worker of Celery has (wire SPEC 7.8). */
export function definitionOf(app: TaskHost, name: string): TaskDefinition | undefined {
  return (
    app.tasks.get(name) ?? (name.startsWith('celery.') || name === laterTask ? builtinsOf(app).get(name) : undefined)
  );
}

const byApp = new WeakMap<TaskHost, ReadonlyMap<string, TaskDefinition>>();

function builtinsOf(app: TaskHost): ReadonlyMap<string, TaskDefinition> {
  let builtins = byApp.get(app);
  if (!builtins) {
    builtins = new Map(builtinTasks(app).map((one) => [one.name, one]));
    byApp.set(app, builtins);
  }
  return builtins;
}

function builtinTasks(app: TaskHost): TaskDefinition[] {
  const make = (name: string, params: readonly string[], fn: TaskFunction, options: TaskOptions = {}) =>
    makeDefinition({
      name,
      fn,
      options: { params, ...options },
      hooks: [],
      ownHooks: [],
      self: undefined,
      file: undefined,
    });
  return [
    // Any arguments by position, and one by name that says which of them it gives.
    { ...make('celery.accumulate', [], accumulate), bind: (args, kwargs) => [args, kwargs.index] },
    make('celery.map', ['task', 'it'], (task: unknown, it: readonly unknown[]) =>
      overItems(
        app,
        task,
        it.map((item) => [item]),
      ),
    ),
    make('celery.starmap', ['task', 'it'], (task: unknown, it: readonly (readonly unknown[])[]) =>
      overItems(app, task, it),
    ),
    make('celery.chunks', ['task', 'it', 'n'], (task: unknown, it: readonly unknown[], n: number) =>
      sent(app, chunked(readSignature(task, 'task'), it, n)),
    ),
    make(
      'celery.group',
      ['tasks', 'result', 'group_id', 'partial_args', 'add_to_parent?'],
      (tasks, _result, id, args) => sent(app, groupOf(readAll(tasks), { task_id: id }), args),
    ),
    make(
      'celery.chord',
      ['header', 'body', 'partial_args?', 'interval?', 'countdown?', 'max_retries?', 'eager?'],
      (header: unknown, body: unknown, args: readonly unknown[] = []) => {
        const signatures = Array.isArray(header) ? readAll(header) : readSignature(header, 'header');
        return sent(app, chordOf(signatures, readSignature(body, 'body')), args);
      },
    ),
    make('celery.chain', ['...args'], () => {
      throw new NotSupportedError('chain is not a real task: send its first step, with the others in the message');
    }),
    make(
      'celery.chord_unlock',
      ['group_id', 'callback', 'interval?', 'max_retries?', 'result?'],
      (self: TaskContext, ...args: Parameters<typeof unlock> extends [unknown, unknown, ...infer A] ? A : never) =>
        unlock(app, self, ...args),
      { bind: true, ignoreResult: true, maxRetries: null },
    ),
    {
      // What Python sends in place of what is kept in the result backend: it is looked up here, and runs with the same id.
      ...make(laterTask, [], async (key: string, args: readonly unknown[]) => {
        const found = await lookUpLater(await app.results(), taskOf(laterTask, { key }));
        throw new Replaced(found, args);
      }),
      bind: (args, { key }) => [key, args],
    },
    // Results go by themselves when their time is over, in every result backend.
    make('celery.backend_cleanup', [], () => null),
  ];
}

/** Celery's way to make a task of a group that has replaced one: it gives its arguments, or one of them. */
function accumulate(args: readonly unknown[], index: unknown): unknown {
  return typeof index === 'number' ? args[index] : args;
}

async function overItems(app: TaskHost, task: unknown, calls: readonly (readonly unknown[])[]): Promise<unknown[]> {
  const { task: name } = readSignature(task, 'task');
  const definition = app.tasks.get(name);
  if (!definition) throw new NotRegisteredError(`this worker has no task '${name}', which is to run for each item`);
  const { fn, options, self } = definition;
  const results: unknown[] = [];
  for (const args of calls) {
    if (!Array.isArray(args)) throw new ArgumentsError(`${name}: expected a list of arguments, got ${typeof args}`);
    const bound = await definition.bind(args, {}, true);
    results.push(await (options.bind ? fn(self ? self() : currentTask(), ...bound) : fn(...bound)));
  }
  return results;
}

function chunked(task: WireSignature, it: readonly unknown[], size: number): WireSignature {
  if (!(size >= 1)) throw new ArgumentsError(`celery.chunks: expected n to be a number from 1 up, got ${size}`);
  const count = Math.ceil(it.length / size);
  const parts = Array.from({ length: count }, (_, i) => it.slice(i * size, (i + 1) * size));
  return groupOf(parts.map((part) => ({ ...taskOf('celery.starmap', { task, it: part }), immutable: true })));
}

/** Sends a signature; what a task returns that has sent it is its result, as Celery writes it. */
async function sent(
  app: TaskHost,
  signature: WireSignature,
  args: readonly unknown[] = [],
): Promise<ResultTuple | null> {
  const result = await signatureFromWire(app, withOptions(signature, {})).applyAsync(args as []);
  return result ? toTuple(result.node) : null;
}

function readAll(value: unknown): WireSignature[] {
  if (Array.isArray(value)) return value.map((one, i) => readSignature(one, `[${i}]`));
  if (isMap(value)) return readAll(isMap(value.kwargs) ? value.kwargs.tasks : undefined);
  throw new ArgumentsError(`expected a list of signatures, got ${typeof value}`);
}

/**
 * How Celery ends chords where its result backend cannot count: it looks again and again whether all have finished. Sent
 * by Python only; Lovage's own backends all count (wire SPEC 7.6).
 */
async function unlock(
  app: TaskHost,
  self: TaskContext,
  groupId: string,
  callback: unknown,
  interval: number | null = null,
  maxRetries: number | null = null,
  result: readonly unknown[] | null = null,
): Promise<void> {
  const { publisher, results } = await app.connections();
  const nodes = (result ?? []).flatMap((tuple) => fromTuple(tuple) ?? []);
  const shape = { id: groupId, members: nodes };
  const records = await results.required().fetchMany(taskIdsOf(shape));
  if (!records.every((record) => record && isFinished(record.state)))
    throw self.retry({ countdown: interval ?? 1, maxRetries });
  const members = records.flatMap((record) => (record ? [results.decode(record)] : []));
  const { request } = self;
  const message = {
    ...request,
    replyTo: '',
    ignoreResult: true,
    replacedTaskNesting: 0,
    task: request.task,
    origin: request.origin ?? '',
  };
  const { parentId: _parent, groupId: _group, eta: _eta, expires: _expires, ...rest } = message;
  const body = readSignature(callback, 'callback');
  await new Chords(app, results, publisher).complete({ joinId: groupId, body, message: rest, members, shape });
}
