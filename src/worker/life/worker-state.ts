import { isPassing, LovageError, type WorkerStuckError } from '../../errors.ts';

/**
 * What a worker is doing. `reconnecting`: its broker hands out nothing, and it tries again; tasks that run go on.
 * `failed`: it could not start, or it stopped because it could not go on.
 */
export type WorkerState = 'new' | 'starting' | 'running' | 'reconnecting' | 'stopping' | 'stopped' | 'failed';

/** What happens to a worker. */
export type WorkerEvent =
  | { readonly kind: 'start' }
  /** It takes messages from here on. */
  | { readonly kind: 'started'; readonly broker: string }
  | { readonly kind: 'startFailed'; readonly error: Error }
  /** A try to receive failed. */
  | { readonly kind: 'lost'; readonly error: Error }
  /** A try to receive succeeded. */
  | { readonly kind: 'back' }
  /** The watchdog has found that nothing helps. */
  | { readonly kind: 'stuck'; readonly error: WorkerStuckError }
  | { readonly kind: 'stop' }
  | { readonly kind: 'stopped' };

/** Everything that is known of a worker's state: a value, replaced at each change. */
export interface Life {
  readonly state: WorkerState;
  /** URL of its broker, masked. */
  readonly broker: string;
  /** Tries to receive that failed in a row before it gives up. */
  readonly maxRetries: number;
  /** How many have failed. */
  readonly failures: number;
  /** When the first of them did, in milliseconds. */
  readonly lostAt: number;
  /** Why it cannot go on. */
  readonly failure: Error | undefined;
}

/** What is to be done at a change. */
export type Effect =
  | {
      readonly kind: 'tell';
      readonly level: 'debug' | 'warn' | 'error';
      readonly fields: object;
      readonly message: string;
    }
  /** End it in order, as at a SIGTERM. */
  | { readonly kind: 'stop' };

type Step = readonly [life: Life, ...effects: Effect[]];
type Steps = { readonly [Kind in WorkerEvent['kind']]?: (life: Life, event: EventOf<Kind>, now: number) => Step };
type EventOf<Kind extends WorkerEvent['kind']> = Extract<WorkerEvent, { kind: Kind }>;

/** A worker that was just made. `maxRetries`: `Infinity` for as long as it takes. */
export function newLife(maxRetries: number): Life {
  return { state: 'new', broker: '', maxRetries, failures: 0, lostAt: 0, failure: undefined };
}

/**
 * The life of a worker after an event at the time `now` (milliseconds), and what is to be done. What has no row in the
 * table below changes nothing. People are told once that the broker is lost and once that it is back, not at each try.
 */
export function advance(life: Life, event: WorkerEvent, now: number): Step {
  // One row takes only the event it stands under, which the type of a lookup cannot say.
  const step = table[life.state][event.kind] as ((life: Life, event: WorkerEvent, now: number) => Step) | undefined;
  return step ? step(life, event, now) : [life];
}

const stop = (life: Life): Step => [{ ...life, state: 'stopping' }];
const stuck = (life: Life, { error }: EventOf<'stuck'>): Step => giveUp(life, error);

const table: Readonly<Record<WorkerState, Steps>> = {
  new: { start: (life) => [{ ...life, state: 'starting' }] },
  starting: {
    started: (life, { broker }) => [{ ...life, state: 'running', broker }],
    startFailed: (life, { error }) => [{ ...life, state: 'failed', failure: error }],
    stop,
  },
  running: { lost: begin, stuck, stop },
  reconnecting: { lost: again, back: end, stuck, stop },
  stopping: {
    stopped: (life) => [{ ...life, state: life.failure ? 'failed' : 'stopped' }],
  },
  stopped: {},
  // One that could not start may try again.
  failed: { start: (life) => [{ ...life, state: 'starting', failure: undefined }] },
};

function begin(life: Life, { error }: EventOf<'lost'>, now: number): Step {
  const next: Life = { ...life, state: 'reconnecting', failures: 1, lostAt: now };
  if (life.maxRetries < 1) return giveUp(next, error);
  // The stack of an error of ours says nothing to those who run a worker.
  const fields = { broker: life.broker, ...(error instanceof LovageError ? {} : { error }) };
  const what = isPassing(error) ? `connection to ${life.broker} lost` : `${life.broker} hands out no messages`;
  return [next, { kind: 'tell', level: 'error', fields, message: `${what}: ${error.message}; trying again` }];
}

function again(life: Life, { error }: EventOf<'lost'>, now: number): Step {
  const next = { ...life, failures: life.failures + 1 };
  if (next.failures > life.maxRetries) return giveUp(next, error);
  const message = `still no connection after ${seconds(now - life.lostAt)}: ${error.message}`;
  return [next, { kind: 'tell', level: 'debug', fields: { tries: next.failures }, message }];
}

function end(life: Life, _event: EventOf<'back'>, now: number): Step {
  const message = `connected to ${life.broker} again after ${seconds(now - life.lostAt)}`;
  const tell: Effect = { kind: 'tell', level: 'warn', fields: { broker: life.broker, tries: life.failures }, message };
  return [{ ...life, state: 'running', failures: 0 }, tell];
}

function giveUp(life: Life, failure: Error): Step {
  const message = `the worker stops, since it cannot go on: ${failure.message}`;
  return [
    { ...life, state: 'stopping', failure },
    { kind: 'tell', level: 'error', fields: { broker: life.broker }, message },
    { kind: 'stop' },
  ];
}

function seconds(ms: number): string {
  return `${ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)} s`;
}
