import type { LovageApp } from '../../app/app.ts';
import type { Results } from '../../app/results/results.ts';
import { deliveryLimit, type TaskDefinition } from '../../app/tasks/task.ts';
import type { ResultRecord } from '../../contracts/backend.ts';
import type { Delivery } from '../../contracts/message.ts';
import { DeliveryLimitError, NotRegisteredError } from '../../errors.ts';
import { decodeTask, peekTaskId } from '../../wire/protocol.ts';
import { type AcceptList, acceptList } from '../../wire/serializers.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import type { Gates } from '../gates/gates.ts';
import type { Held, Outcome, Settlement, Sorted } from '../outcome.ts';
import { definitionOf } from '../running/builtin-tasks.ts';
import { replay } from './replay.ts';
import type { Revocations } from './revocations.ts';

/** An ETA this near is now: it is less than what a trip through the store takes. */
const nowMs = 5;

/** Reads deliveries and decides which of them run: unreadable, unknown, revoked, expired and early ones do not, nor those that limits keep back. */
export class Intake {
  readonly #app: LovageApp;
  readonly #results: Results;
  readonly #gates: Pick<Gates, 'pass'>;
  readonly #revocations: Pick<Revocations, 'has'>;
  readonly #accept: AcceptList;

  constructor(app: LovageApp, results: Results, gates: Pick<Gates, 'pass'>, revocations: Pick<Revocations, 'has'>) {
    this.#app = app;
    this.#results = results;
    this.#gates = gates;
    this.#revocations = revocations;
    this.#accept = acceptList(app.config.acceptContent);
  }

  async sort(deliveries: readonly Delivery[]): Promise<Sorted> {
    // Asked before the bodies are read, so that the answer comes meanwhile.
    const asked = this.#stored(deliveries.map(({ message }) => peekTaskId(message).id ?? ''));
    const held = await Promise.all(deliveries.map((delivery) => this.#read(delivery)));
    const stored = await asked;
    const runs: Held[] = [];
    const settled: Settlement[] = [];
    held.forEach((one, i) => {
      const outcome = 'outcome' in one ? one.outcome : this.#gate(one, stored[i]);
      if (outcome) settled.push({ held: one, outcome });
      else runs.push(one);
    });
    return this.#gates.pass({ runs, settled });
  }

  async #read(delivery: Delivery): Promise<Held & { outcome?: Outcome }> {
    const common = { delivery, acked: false, receivedAt: Date.now() };
    try {
      const decoded = await decodeTask(delivery.message, { accept: this.#accept });
      const definition = definitionOf(this.#app, decoded.task);
      const own = this.#ignoresResult(decoded, definition) ? { ...decoded, ignoreResult: true } : decoded;
      // A retry that stays in its place is the same message: its deliveries tell how often it was tried.
      const message = delivery.ordered ? { ...own, retries: own.retries + delivery.attempt - 1 } : own;
      return { ...common, taskId: message.id, message, definition };
    } catch (error) {
      const { id } = peekTaskId(delivery.message);
      return {
        ...common,
        taskId: id,
        message: undefined,
        definition: undefined,
        outcome: { kind: 'dead', error: error as Error },
      };
    }
  }

  /** A sender in another language does not know what the task says of its own results (wire SPEC 1.1). A chord needs them. */
  #ignoresResult({ lang, chord }: TaskMessage, definition: TaskDefinition | undefined): boolean {
    if (lang === 'ts' || chord) return false;
    return definition?.options.ignoreResult ?? this.#app.config.taskIgnoreResult;
  }

  /** What is stored about each task; a store in trouble is no reason to hold up work. */
  async #stored(taskIds: readonly string[]): Promise<readonly (ResultRecord | undefined)[]> {
    if (!this.#results.backend) return [];
    try {
      return await this.#results.backend.fetchMany(taskIds);
    } catch (error) {
      this.#app.logger.warn({ error }, 'cannot look for revoked tasks: the result backend does not answer');
      return [];
    }
  }

  #gate({ delivery, message, definition }: Held, stored: ResultRecord | undefined): Outcome | undefined {
    if (!message) return { kind: 'release' };
    if (!definition) return { kind: 'dead', error: notRegistered(message.task, this.#app) };
    const limit = deliveryLimit(definition, this.#app.config, delivery);
    if (delivery.attempt > limit) return { kind: 'dead', error: tooMany(message.task, delivery.attempt, limit) };
    if (stored?.state === 'REVOKED' || this.#revocations.has(message.id)) return { kind: 'revoked', reason: 'revoked' };
    if (stored?.state === 'SUCCESS' && delivery.attempt > 1) return replay(this.#app, this.#results, stored);
    const now = Date.now();
    if (message.expires !== undefined && message.expires <= now) return { kind: 'revoked', reason: 'expired' };
    if (message.eta !== undefined && message.eta > now + nowMs) return { kind: 'defer', dueAt: message.eta };
    return undefined;
  }
}

export function notRegistered(task: string, app: Pick<LovageApp, 'nearestTask'>): NotRegisteredError {
  const close = app.nearestTask(task);
  return new NotRegisteredError(
    `this worker has no task '${task}'${close ? ` (did you mean '${close}'?)` : ''}: register it, or send it to a queue whose workers have it. Its message is in the dead letters`,
  );
}

function tooMany(task: string, attempt: number, limit: number): DeliveryLimitError {
  return new DeliveryLimitError(
    `${task} was delivered ${attempt} times and never settled (limit ${limit}): its workers probably died of it. Its message is in the dead letters`,
  );
}
