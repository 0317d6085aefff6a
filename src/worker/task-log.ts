import type { LovageApp } from '../app/app.ts';
import { saferepr } from '../wire/saferepr.ts';
import type { Held, Settlement } from './outcome.ts';
import type { WorkerCounts } from './worker.ts';

/** Tells people and counts what happens to tasks, in Celery's words. */
export class TaskLog {
  readonly #app: LovageApp;
  readonly #counts: WorkerCounts;

  constructor(app: LovageApp, counts: WorkerCounts) {
    this.#app = app;
    this.#counts = counts;
  }

  received({ message, delivery }: Held): void {
    if (message) this.#app.logger.debug({ queue: delivery.queue }, `Task ${message.task}[${message.id}] received`);
  }

  settled({ held, outcome }: Settlement): void {
    const { logger } = this.#app;
    const seconds = (Date.now() - held.receivedAt) / 1000;
    const name = `Task ${held.message?.shadow ?? held.message?.task ?? 'unreadable'}[${held.taskId ?? 'no id'}]`;
    switch (outcome.kind) {
      case 'success':
        this.#counts.succeeded += 1;
        return logger.info({ seconds, result: outcome.value === undefined ? undefined : saferepr(outcome.value, 80) }, `${name} succeeded`);
      case 'failure': {
        this.#counts.failed += 1;
        const expected = (held.definition?.options.throws ?? []).some((c) => outcome.error instanceof c);
        if (expected) return logger.info({ seconds }, `${name} raised expected: ${String(outcome.error)}`);
        return logger.error({ seconds, error: outcome.error }, `${name} raised unexpected: ${String(outcome.error)}`);
      }
      case 'retry':
        this.#counts.retried += 1;
        return logger.info({ inSeconds: Math.max(0, (outcome.dueAt - Date.now()) / 1000) }, `${name} retry: ${String(outcome.error)}`);
      case 'revoked':
        this.#counts.revoked += 1;
        return logger.info({}, `Discarding ${outcome.reason} task: ${name}`);
      case 'dead':
        this.#counts.dead += 1;
        return logger.error({ queue: held.delivery.queue, code: 'code' in outcome.error ? outcome.error.code : undefined }, `${name} goes to the dead letters: ${outcome.error.message}`);
      case 'reject':
        if (!outcome.requeue) this.#counts.dead += 1;
        return logger.info({}, `${name} rejected${outcome.requeue ? ' and requeued' : ''}: ${outcome.reason}`);
      case 'ignore':
        return logger.info({ seconds }, `${name} ignored`);
      case 'defer':
        return logger.debug({ until: new Date(outcome.dueAt).toISOString() }, `${name} parked`);
      case 'release':
        return logger.info({}, `${name} given back`);
    }
  }
}
