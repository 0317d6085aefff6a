import type { LovageApp } from '../app/app.ts';
import { saferepr } from '../wire/saferepr.ts';
import type { ResultMeta, WireError } from '../wire/task-message.ts';
import { paint, valueText } from './output.ts';
import { status } from './run.ts';

/** What is stored about a task, in the form that commands show. */
export interface Outcome {
  readonly id: string;
  readonly state: string;
  readonly result?: unknown;
  readonly error?: { readonly type: string; readonly message: string };
  readonly traceback?: string;
}

/** Waits for a task to finish. @throws TimeoutError */
export async function waitFor(app: LovageApp, id: string, timeout: number | undefined): Promise<Outcome> {
  const results = await app.results();
  return toOutcome(id, await results.wait(id, timeout === undefined ? {} : { timeout }));
}

/** What is known of a task now. */
export async function lookUp(app: LovageApp, id: string): Promise<Outcome> {
  const results = await app.results();
  return toOutcome(id, await results.fetch(id));
}

function toOutcome(id: string, meta: ResultMeta | undefined): Outcome {
  if (!meta) return { id, state: 'PENDING' };
  const { state, result, traceback } = meta;
  if (!isWireError(result)) return { id, state, result };
  const { exc_type: type, exc_message: args } = result;
  const message = [args]
    .flat()
    .map((arg) => (typeof arg === 'string' ? arg : saferepr(arg)))
    .join(', ');
  return { id, state, error: { type, message }, ...(traceback !== undefined && { traceback }) };
}

function isWireError(value: unknown): value is WireError {
  return typeof value === 'object' && value !== null && 'exc_type' in value && typeof value.exc_type === 'string';
}

/** The exit status that tells scripts how a task ended. */
export function statusOf({ state }: Outcome): number {
  return state === 'FAILURE' || state === 'REVOKED' ? status.failed : status.ok;
}

/** The return value as JSON, or the type, the message and perhaps the stack of what the task threw. */
export function outcomeText({ result, error, traceback }: Outcome, withStack: boolean): string {
  if (!error) return valueText(result);
  const first = `${paint('red', error.type)}${error.message === '' ? '' : `: ${error.message}`}`;
  return withStack && traceback !== undefined ? `${first}\n\n${traceback.trimEnd()}` : first;
}
