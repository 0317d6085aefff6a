import { saferepr } from '../wire/saferepr.ts';

/** What was thrown, as an error: JavaScript lets anything be thrown. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`thrown value: ${saferepr(thrown)}`);
}
