import { kinds, type OptionRow, option } from './options.ts';

const anything = kinds.custom<unknown>(
  'any value',
  () => true,
  (text) => text,
);

/** kombu knows it, here it has no meaning: a configuration that both sides share must not fail over it. */
export function ignored(why: string): OptionRow<unknown> {
  return option<unknown>({ kind: anything, doc: `Accepted for kombu's sake: ${why}` });
}

/** kombu knows it, and what it would do here is done otherwise. */
export function refused(instead: string): OptionRow<unknown> {
  return option<unknown>({ kind: anything, unsupported: instead, doc: `Refused: ${instead}` });
}

/** The steps to which priorities are rounded down. */
export const priorityStepsKind = kinds.custom<readonly number[]>(
  'a growing list of whole numbers from 0 to 9 that begins with 0',
  (value) =>
    Array.isArray(value) &&
    value[0] === 0 &&
    value.every((step, i) => Number.isInteger(step) && step <= 9 && (i === 0 || step > value[i - 1])),
  (text) => text.split(',').map(Number),
);
