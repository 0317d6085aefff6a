import { ConfigError } from '../errors.ts';

/** @throws ConfigError unless `slots` is a whole number from 1 on */
export function checkSlots(slots: number): number {
  if (Number.isSafeInteger(slots) && slots >= 1) return slots;
  throw new ConfigError(`Expected the slots of a pool as a whole number of at least 1, got ${slots}.`);
}
