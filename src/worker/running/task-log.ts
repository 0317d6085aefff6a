import type { LovageApp } from '../../app/app.ts';
import type { Logger } from '../../app/logger.ts';
import { saferepr } from '../../wire/saferepr.ts';
import type { Held, Outcome, Settlement } from '../outcome.ts';

/** What a worker has done since it started. */
export interface WorkerCounts {
  received: number;
  succeeded: number;
  failed: number;
  retried: number;
  revoked: number;
  /** Gone to the dead letters. */
  dead: number;
  /** By queue: how many runs have ended by themselves, and how many seconds they took together. */
  runtimes?: Record<string, Runtimes>;
}

/** How long some runs took. */
export interface Runtimes {
  runs: number;
  seconds: number;
}

/** Tells people and counts what happens to tasks, in Celery's words. */
export class TaskLog {
  readonly #app: LovageApp;
  readonly #counts: WorkerCounts;

  constructor(app: LovageApp, counts: WorkerCounts) {
    this.#app = app;
    this.#counts = counts;
  }

  received({ message, delivery }: Held): void {
    if (!message) return;
    this.#tell('debug', () => ({
      level: 'debug',
      fields: { queue: delivery.queue },
      text: `Task ${message.task}[${message.id}] received`,
    }));
  }

  settled({ held, outcome }: Settlement): void {
    this.#count(outcome);
    this.#time(held, outcome);
    this.#tell(loudest(outcome), () => {
      const name = `Task ${held.message?.shadow ?? held.message?.task ?? 'unreadable'}[${held.taskId ?? 'no id'}]`;
      const line = describe(held, outcome, (Date.now() - held.receivedAt) / 1000);
      return { ...line, text: `${name} ${line.text}` };
    });
  }

  /** `level` is the highest that the line may have. */
  #tell(level: Level, line: () => Line): void {
    try {
      const { logger } = this.#app;
      if (logger.isLevelEnabled?.(level) === false) return;
      const { level: at, fields, text } = line();
      logger[at](fields, text);
    } catch {
      // A logger of the application's own that throws must not cost a task.
    }
  }

  #time({ startedAt, delivery: { queue } }: Held, { kind }: Outcome): void {
    if (startedAt === undefined || (kind !== 'success' && kind !== 'failure' && kind !== 'retry')) return;
    this.#counts.runtimes ??= {};
    this.#counts.runtimes[queue] ??= { runs: 0, seconds: 0 };
    const runtimes = this.#counts.runtimes[queue];
    runtimes.runs += 1;
    runtimes.seconds += (performance.now() - startedAt) / 1000;
  }

  #count(outcome: Outcome): void {
    const counts = this.#counts;
    if (outcome.kind === 'success') counts.succeeded += 1;
    else if (outcome.kind === 'failure') counts.failed += 1;
    else if (outcome.kind === 'retry') counts.retried += 1;
    else if (outcome.kind === 'revoked') counts.revoked += 1;
    else if (outcome.kind === 'dead' || (outcome.kind === 'reject' && !outcome.requeue)) counts.dead += 1;
  }
}

type Level = Exclude<keyof Logger, 'isLevelEnabled' | 'out'>;

function loudest({ kind }: Outcome): Level {
  return kind === 'failure' || kind === 'dead' || kind === 'abandon' ? 'error' : 'info';
}

interface Line {
  readonly level: Level;
  readonly fields: object;
  readonly text: string;
}

function describe({ definition, delivery }: Held, outcome: Outcome, seconds: number): Line {
  const info = (text: string, fields: object = {}): Line => ({ level: 'info', fields, text });
  switch (outcome.kind) {
    case 'success':
      return info('succeeded', {
        seconds,
        ...(outcome.value !== undefined && { result: saferepr(outcome.value, 80) }),
      });
    case 'failure': {
      const { error } = outcome;
      const expected = (definition?.options.throws ?? []).some(
        // From a thread or process it comes without its class.
        (errorClass) => error instanceof errorClass || (error instanceof Error && error.name === errorClass.name),
      );
      if (expected) return info(`raised expected: ${errorText(error)}`, { seconds });
      return { level: 'error', fields: { seconds, error }, text: `raised unexpected: ${errorText(error)}` };
    }
    case 'retry':
      return info(`retry: ${errorText(outcome.error)}`, {
        inSeconds: Math.max(0, (outcome.dueAt - Date.now()) / 1000),
      });
    case 'revoked':
      return info(`discarded: ${outcome.reason}`);
    case 'dead': {
      const fields = { queue: delivery.queue, ...('code' in outcome.error && { code: outcome.error.code }) };
      return { level: 'error', fields, text: `goes to the dead letters: ${outcome.error.message}` };
    }
    case 'reject':
      return info(`rejected${outcome.requeue ? ' and requeued' : ''}: ${outcome.reason}`);
    case 'ignore':
      return info('ignored', { seconds });
    case 'replace':
      return info(`replaced by ${outcome.signature.task}`, { seconds });
    case 'defer':
      return { level: 'debug', fields: { until: new Date(outcome.dueAt).toISOString() }, text: 'parked until due' };
    case 'release':
      return info(outcome.later === undefined ? 'given back' : 'given back for a while: its lane is full');
    case 'abandon':
      return {
        level: 'error',
        fields: { error: outcome.error },
        text: `${outcome.error.message}; it comes back when its lease ends`,
      };
  }
}

/** What was thrown, for people: it need be no error, nor anything that can be made text. */
function errorText(error: unknown): string {
  return error instanceof Error ? String(error) : saferepr(error, 200);
}
