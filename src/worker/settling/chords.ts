import type { TaskHost } from '../../app/host.ts';
import { lookUpAll, lookUpLater } from '../../app/results/later.ts';
import type { Results } from '../../app/results/results.ts';
import { type Ancestor, begin, launch } from '../../app/sending/launch.ts';
import type { Publisher } from '../../app/sending/publisher.ts';
import { collectHeader, type MemberEnd } from '../../canvas/chord.ts';
import { abandoned } from '../../canvas/expand.ts';
import { freeze, idOf } from '../../canvas/freeze.ts';
import { bodyOf, isMap, kindOf, signaturesIn, tasksOf, textIn } from '../../canvas/wire-tree.ts';
import type { JoinPart, JoinStore } from '../../contracts/backend.ts';
import type { ItemFailure } from '../../contracts/common.ts';
import { ChordError, ConfigError, DecodeError } from '../../errors.ts';
import { inParallel } from '../../util/in-parallel.ts';
import { encodeError } from '../../wire/remote-error.ts';
import type { ResultNode } from '../../wire/result-tuple.ts';
import { saferepr } from '../../wire/saferepr.ts';
import type { ResultMeta, TaskMessage, WireSignature } from '../../wire/task-message.ts';
import { callErrbacks, type Told, tellErrbacks } from './errbacks.ts';
import { derivedIds } from './follow-ups.ts';

/** Joins that are counted at once. */
const atOnce = 50;

/** A member of a chord that has finished. */
export interface Arrival {
  readonly joinId: string;
  readonly part: JoinPart;
  /** The task that has made it arrive. */
  readonly message: TaskMessage;
  readonly body: WireSignature;
}

/** A chord whose members have all finished. */
export interface Completion {
  readonly joinId: string;
  readonly body: WireSignature;
  /** The member that finished last: the body follows it. */
  readonly message: TaskMessage;
  /** Members in their order. */
  readonly members: readonly ResultMeta[];
  /** The header, where results of members are those of groups. */
  readonly shape?: ResultNode | undefined;
}

/** Counts members of chords, and sends the body when the last one is there. */
export class Chords {
  readonly #app: TaskHost;
  readonly #results: Results;
  readonly #publisher: Publisher;

  constructor(app: TaskHost, results: Results, publisher: Publisher) {
    this.#app = app;
    this.#results = results;
    this.#publisher = publisher;
  }

  /** Adds members to their joins. One that fails is to be added again: it counts once. */
  async arrive(arrivals: readonly Arrival[]): Promise<ItemFailure[]> {
    const joins = this.#results.backend?.joins;
    const failures: ItemFailure[] = [];
    const byJoin = Map.groupBy(
      arrivals.map((arrival, index) => ({ arrival, index })),
      ({ arrival }) => arrival.joinId,
    );
    // Each is some trips to the store, one after the other; chords have nothing to do with each other.
    await inParallel([...byJoin], atOnce, async ([joinId, members]) => {
      try {
        if (!joins)
          throw new ConfigError('this result backend cannot count the members of chords, so the body will not run');
        await this.#count(
          joins,
          joinId,
          members.map(({ arrival }) => arrival),
        );
      } catch (error) {
        for (const { index } of members) failures.push({ index, error: error as Error });
      }
    });
    return failures;
  }

  async #count(joins: JoinStore, joinId: string, arrivals: readonly Arrival[]): Promise<void> {
    const { ttlMs } = this.#results;
    const { count, size } = await joins.addMany(
      joinId,
      arrivals.map(({ part }) => part),
      ttlMs,
    );
    const arrival = arrivals.at(-1);
    if (size === undefined || count < size || !arrival) return;
    const [parts, shape] = await Promise.all([joins.read(joinId), this.#results.fetchGroup(joinId)]);
    if (!parts) return;
    const members = parts.map(({ key, document }) => this.#results.decode({ taskId: key, state: '', document }));
    const { body, message } = arrival;
    try {
      await this.complete({ joinId, body, message, members, shape });
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      await this.#failUnread(body, error);
    }
    // Only now: a crash before it sends the body again, with the same id; a join ended earlier would be lost.
    await joins.take(joinId);
  }

  /** Sends the body with the results, or fails it where a member has. */
  async complete(completion: Completion): Promise<void> {
    const { joinId, message, members } = completion;
    const body = await lookUpLater(this.#results, completion.body);
    const collects = isCollecting(body);
    const failed = collects ? undefined : members.find(({ state }) => state !== 'SUCCESS');
    if (failed) {
      const error = new ChordError(`Dependency ${failed.taskId} raised ${describe(failed)}`);
      await this.fail(completion, error);
      return;
    }
    const values = valuesOf(completion, collects ? memberEnd : ({ result }) => result);
    const all = launch(this.#app, body, {
      args: [values],
      ids: derivedIds(joinId, 'body'),
      ancestor: before(body, message),
    });
    await this.#publisher.publishMany(await begin(this.#app, this.#results, all), { retry: false });
  }

  /** Ends all of a body that will not run: its tasks fail, its errbacks are told, chords that wait for it are told, too. */
  async fail({ joinId, body, message }: Omit<Completion, 'members'>, error: ChordError): Promise<void> {
    const ids = derivedIds(joinId, 'body');
    const frozen = freeze(await lookUpAll(this.#results, body), ids);
    const { taskIds, members } = abandoned(frozen, ids);
    const records = taskIds.map((taskId) =>
      this.#results.encode({
        taskId,
        state: 'FAILURE',
        result: encodeError(error),
        children: [],
        dateDone: Date.now(),
      }),
    );
    const [failure] = await this.#results.required().storeMany(records, this.#results.ttlMs);
    if (failure) throw failure.error;
    for (const told of errbacksOf(frozen).map((one) => this.#tell(one, message, error))) {
      await this.#publisher.publishMany(told.launch.messages, { retry: false });
      await callErrbacks(this.#app, told.calls);
    }
    const documents = new Map(records.map((record) => [record.taskId, record.document]));
    const outer = members.flatMap(({ taskId, joinId: id, index = 0, body: next }) => {
      const document = documents.get(taskId);
      return document === undefined
        ? []
        : [{ joinId: id, part: { key: taskId, index, document }, message, body: next }];
    });
    const [stuck] = await this.arrive(outer);
    if (stuck) throw stuck.error;
  }

  /** Ends a body that nobody can read, as far as it says who waits for it. */
  async #failUnread({ task, options }: WireSignature, error: DecodeError): Promise<void> {
    const taskId = textIn(options, 'task_id');
    this.#app.logger.error({ task, id: taskId, error }, 'the body of a chord cannot be read');
    if (taskId === undefined) return;
    const meta = { taskId, state: 'FAILURE', result: encodeError(error), children: [], dateDone: Date.now() };
    const [failure] = await this.#results.required().storeMany([this.#results.encode(meta)], this.#results.ttlMs);
    if (failure) throw failure.error;
  }

  #tell({ errbacks, task }: BodyErrbacks, { rootId, stamps, stampedHeaders }: TaskMessage, error: ChordError): Told {
    const { args, kwargs } = task;
    const marks = { ...(stamps && { stamps }), ...(stampedHeaders && { stampedHeaders }) };
    const failed = { id: idOf(task), task: task.task, args, kwargs, retries: 0, rootId, ...marks };
    return tellErrbacks(this.#app, errbacks, failed, error);
  }
}

/** What a body follows: as it says itself, else the member that finished last. */
function before({ options }: WireSignature, message: TaskMessage): Ancestor {
  return {
    ...message,
    id: textIn(options, 'parent_id') ?? message.id,
    rootId: textIn(options, 'root_id') ?? message.rootId,
  };
}

interface BodyErrbacks {
  readonly task: WireSignature;
  readonly errbacks: readonly WireSignature[];
}

/** Who is told that a body will not run: of a chain the errbacks of its last step, since those of the chain are among them. */
function errbacksOf(frozen: WireSignature): BodyErrbacks[] {
  switch (kindOf(frozen)) {
    case 'task':
      return [{ task: frozen, errbacks: signaturesIn(frozen.options, 'link_error') }];
    case 'chain':
      return tasksOf(frozen).slice(-1).flatMap(errbacksOf);
    case 'group':
      return tasksOf(frozen).flatMap(errbacksOf);
    case 'chord':
      return errbacksOf(bodyOf(frozen));
  }
}

/** Whether a body is to be told of failures. It is its first task that is told. */
export function isCollecting(body: WireSignature): boolean {
  switch (kindOf(body)) {
    case 'chain':
    case 'group':
      return tasksOf(body).slice(0, 1).some(isCollecting) || hasMark(body);
    default:
      return hasMark(body);
  }
}

function hasMark({ options }: WireSignature): boolean {
  return isMap(options.headers) && options.headers[collectHeader] === true;
}

/** The results in the order of the members; where a member is a group, its results are a list. */
function valuesOf({ members, shape }: Completion, read: (meta: ResultMeta) => unknown): unknown[] {
  if (!shape?.members) return members.map(read);
  const byId = new Map(members.map((meta) => [meta.taskId, meta]));
  const valueAt = (node: ResultNode): unknown => {
    if (node.members) return node.members.map(valueAt);
    const meta = byId.get(node.id);
    return meta ? read(meta) : null;
  };
  return shape.members.map(valueAt);
}

function memberEnd({ taskId, state, result }: ResultMeta): MemberEnd {
  if (state === 'SUCCESS') return { state, taskId, value: result };
  const { exc_type: type = state, exc_message: message = '' } = isMap(result) ? result : {};
  const text = Array.isArray(message) ? message.map(String).join(', ') : String(message);
  return { state: state === 'REVOKED' ? state : 'FAILURE', taskId, type: String(type), message: text };
}

/** An error in Python's notation, as Celery writes it here. */
function describe({ result }: ResultMeta): string {
  if (typeof result !== 'object' || result === null || !('exc_type' in result)) return saferepr(result);
  const args = 'exc_message' in result && Array.isArray(result.exc_message) ? result.exc_message : [];
  return `${String(result.exc_type)}(${args.map((arg) => saferepr(arg)).join(', ')})`;
}
