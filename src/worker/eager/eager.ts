import { AsyncLocalStorage } from 'node:async_hooks';
import { hostname } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import type { LovageApp } from '../../app/app.ts';
import type { EagerRunner } from '../../app/eager.ts';
import { resultHandle } from '../../app/results/result-handle.ts';
import type { Results } from '../../app/results/results.ts';
import { checkChords } from '../../app/sending/canvas-sender.ts';
import { begin, type Launch, launch } from '../../app/sending/launch.ts';
import { currentRunning, runOutside } from '../../app/tasks/current-task.ts';
import { type EagerOptions, eagerOptionTable, type Sendable } from '../../app/tasks/task-options.ts';
import { freeze, nodeOf } from '../../canvas/freeze.ts';
import { stamped, withStamps } from '../../canvas/stamps.ts';
import { toWireOptions } from '../../canvas/wire-options.ts';
import { signatureIn, withOptions } from '../../canvas/wire-tree.ts';
import type { ResultRecord } from '../../contracts/backend.ts';
import type { Outgoing } from '../../contracts/message.ts';
import { Reject } from '../../errors.ts';
import { newId } from '../../util/ids.ts';
import { checkOptions } from '../../util/options.ts';
import { decodeTask } from '../../wire/protocol.ts';
import { decodeError } from '../../wire/remote-error.ts';
import { toTuple } from '../../wire/result-tuple.ts';
import { type AcceptList, acceptList } from '../../wire/serializers.ts';
import type { TaskMessage, WireError } from '../../wire/task-message.ts';
import type { Held, Outcome } from '../outcome.ts';
import { definitionOf } from '../running/builtin-tasks.ts';
import { Executor } from '../running/executor.ts';
import { Chords, isCollecting } from '../settling/chords.ts';
import { callErrbacks } from '../settling/errbacks.ts';
import { type Plan, Planner } from '../settling/plan.ts';
import { notRegistered } from '../taking/intake.ts';
import { checkRegistered } from './eager-check.ts';
import { EagerHost } from './eager-host.ts';

/** The run around: what a task of it runs eagerly shares its results. */
const around = new AsyncLocalStorage<EagerRun>();
const never = new AbortController().signal;
/** Whoever sends in an eager run has no broker that could be in trouble. */
const once = { retry: false };

/** Runs a signature in this process, with the parts of a worker: the messages are written and read, only not carried. */
export const runEagerly: EagerRunner = async (app, canvas, args, given) => {
  checkOptions(eagerOptionTable, given, 'apply');
  const outer = around.getStore();
  const nested = outer?.app === app ? outer : undefined;
  await app.loadSerializers();
  await app.resources.openAll();
  const run = new EagerRun(app, nested?.backend ?? (await app.eagerStores.own()), given);
  return run.start(canvas, args, nested !== undefined);
};

/** One signature, from its start until nothing of it is left to run. */
class EagerRun {
  readonly app: LovageApp;
  readonly backend: Results['backend'];
  readonly #options: EagerOptions;
  readonly #host: EagerHost;
  readonly #executor: Executor;
  readonly #planner: Planner;
  readonly #chords: Chords;
  readonly #accept: AcceptList;
  readonly #signal: AbortSignal;
  /** The next one last. */
  readonly #waiting: Outgoing[] = [];
  /** Tasks whose results are ignored, and whether their errors are: the handle has both, the application's backend neither. */
  readonly #ignored = new Map<string, { readonly keepsErrors: boolean }>();
  #failure: { readonly error: unknown } | undefined;

  constructor(app: LovageApp, backend: Results['backend'], { signal = never, ...given }: EagerOptions) {
    this.app = app;
    this.backend = backend;
    this.#options = given;
    this.#signal = signal;
    const host = new EagerHost(app, backend);
    this.#host = host;
    this.#executor = new Executor(host, hostname());
    this.#planner = new Planner(host, host.own, hostname());
    this.#chords = new Chords(host, host.own, host.publisher);
    this.#accept = acceptList(app.config.acceptContent);
  }

  async start(canvas: Sendable, args: readonly unknown[], isNested: boolean): ReturnType<EagerRunner> {
    const { throw: raises = this.app.config.taskEagerPropagates, stamps, ...own } = this.#options;
    const far = withStamps(stamps, currentRunning()?.message.stamps);
    const frozen = freeze(stamped(withOptions(canvas.toWire(), toWireOptions(own)), far), newId);
    checkRegistered(this.#host, frozen);
    await checkChords(this.#host, frozen);
    const all = launch(this.#host, frozen, { args, ids: newId });
    await this.#send(all);
    if (isNested) currentRunning()?.children.push(...all.launched.map(toTuple));
    await around.run(this, () => runOutside(() => this.#runAll()));
    if (raises && this.#failure) throw this.#failure.error;
    const node = nodeOf(frozen);
    return node && resultHandle(node, this.#host);
  }

  /** What a task sends runs before what waits beside it, so that a member of a group ends before the next begins. */
  async #runAll(): Promise<void> {
    for (;;) {
      for (const one of this.#host.takeSent().toReversed()) this.#waiting.push(one);
      const next = this.#waiting.pop();
      if (!next) return;
      this.#signal.throwIfAborted();
      await this.#run(next);
    }
  }

  async #run({ queue, message: wire }: Outgoing): Promise<void> {
    const decoded = await decodeTask(wire, { accept: this.#accept });
    const message = { ...decoded, ignoreResult: false };
    const definition = definitionOf(this.#host, message.task);
    const keepsErrors = definition?.options.storeErrorsEvenIfIgnored ?? this.app.config.taskStoreErrorsEvenIfIgnored;
    if (decoded.ignoreResult) this.#ignored.set(decoded.id, { keepsErrors });
    // There is no queue to which it could go back: it counts as acked.
    const delivery = { queue, tag: message.id, message: wire, attempt: 1 };
    const held = { delivery, taskId: message.id, message, definition, acked: true, receivedAt: Date.now() };
    const outcome: Outcome = definition
      ? await this.#executor.run({ message, queue, attempt: 1, isEager: true }, this.#signal)
      : { kind: 'dead', error: notRegistered(message.task, this.app) };
    await this.#settle(held, ended(outcome));
    // Whatever the task waits for may need the event loop.
    if (outcome.kind === 'retry') await turn();
  }

  async #settle(held: Held & { readonly message: TaskMessage }, outcome: Outcome): Promise<void> {
    const plan = this.#planner.plan({ held, outcome });
    this.#note(held.message, outcome, plan);
    try {
      await this.#carryOut(plan);
      if ('forget' in outcome && outcome.forget) await this.backend?.forgetMany(outcome.forget);
    } catch (error) {
      this.#failure ??= { error };
      await this.#carryOut(this.#planner.stuck(held, error as Error, false));
    }
  }

  /** In the order in which a worker does it. */
  async #carryOut({ before, records, arrivals = [], after, errbacks = [] }: Plan): Promise<void> {
    await this.#host.publisher.publishMany(before, once);
    await this.#store(records);
    const [lost] = await this.#chords.arrive(arrivals);
    if (lost) throw lost.error;
    if (after) await this.#send(after);
    await callErrbacks(this.#host, errbacks);
  }

  async #send(all: Launch): Promise<void> {
    await this.#host.publisher.publishMany(await begin(this.#host, this.#host.own, all), once);
  }

  async #store(records: readonly ResultRecord[]): Promise<void> {
    if (records.length === 0) return;
    await this.backend?.storeMany(records, this.#host.own.ttlMs);
    if (!this.app.config.taskStoreEagerResult) return;
    const kept = await this.app.eagerStores.kept();
    const wanted = records.filter((record) => this.#isKept(record));
    const [failure] = (wanted.length > 0 && (await kept.backend?.storeMany(wanted, kept.ttlMs))) || [];
    if (failure) throw failure.error;
  }

  #isKept({ taskId, state }: ResultRecord): boolean {
    const ignored = this.#ignored.get(taskId);
    return !ignored || (state === 'FAILURE' && ignored.keepsErrors);
  }

  /** Remembers the first failure, as it was thrown; not that of a member whose chord wants to hear of it. */
  #note(message: TaskMessage, outcome: Outcome, { records }: Plan): void {
    // Of a chain the last step is the member; in the order of the wire it is the first.
    const chord = message.chord ?? signatureIn(message.chain?.[0]?.options ?? {}, 'chord');
    if (this.#failure || (chord && isCollecting(chord))) return;
    const own = records.find(({ taskId }) => taskId === message.id);
    if (own?.state !== 'FAILURE') return;
    const error = 'error' in outcome ? outcome.error : undefined;
    if (outcome.kind === 'failure' || outcome.kind === 'dead') this.#failure = { error };
    else if (outcome.kind === 'reject') this.#failure = { error: new Reject(outcome.reason) };
    else {
      const { result, traceback } = this.#host.own.decode(own);
      this.#failure = { error: decodeError(result as WireError, this.app.errorClasses, traceback) };
    }
  }
}

/** Nobody would bring a rejected message again. */
function ended(outcome: Outcome): Outcome {
  return outcome.kind === 'reject' ? { ...outcome, requeue: false } : outcome;
}
