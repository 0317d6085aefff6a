import { setImmediate } from 'node:timers/promises';

/** What a slice reports for an item it could not do; `index` counts from the start of the slice. */
interface Failure {
  readonly index: number;
  readonly error: Error;
}

/** How long one slice may be, and what goes into none. */
export interface SliceLimits<T> {
  readonly maxItems: number;
  /** Together with `sizeOf`: bound of the sizes in one slice. An item larger than that goes alone. */
  readonly maxSize?: number;
  readonly sizeOf?: (item: T) => number;
  /** Items for which it gives an error are left out and reported. */
  readonly refuse?: (item: T) => Error | undefined;
}

/**
 * Does a long batch in slices, one after the other, letting the event loop run in between. Failures are counted from
 * the start of the batch. Rejects only where the first slice does: later on something was done, so the rest of the
 * batch is reported as failed, item by item.
 */
export async function inSlices<T>(
  batch: readonly T[],
  limits: SliceLimits<T>,
  run: (slice: readonly T[], from: number) => Promise<readonly Failure[]>,
): Promise<Failure[]> {
  const { items, places, failures } = sortOut(batch, limits.refuse);
  for (let from = 0, to = 0; from < items.length; from = to) {
    to = sliceEnd(items, from, limits);
    try {
      if (from > 0) await setImmediate();
      const slice = from === 0 && to === items.length ? items : items.slice(from, to);
      for (const { index, error } of await run(slice, from)) failures.push({ index: places(from + index), error });
    } catch (cause) {
      if (from === 0) throw cause;
      const error = cause instanceof Error ? cause : new Error(String(cause));
      for (let index = from; index < items.length; index++) failures.push({ index: places(index), error });
      break;
    }
  }
  return failures;
}

/** The items to do, where each of them stood in the batch, and the others as failures. */
function sortOut<T>(batch: readonly T[], refuse: ((item: T) => Error | undefined) | undefined) {
  const failures: Failure[] = [];
  batch.forEach((item, index) => {
    const error = refuse?.(item);
    if (error) failures.push({ index, error });
  });
  if (failures.length === 0) return { items: batch, places: (index: number) => index, failures };
  const refused = new Set(failures.map(({ index }) => index));
  const kept = [...batch.keys()].filter((index) => !refused.has(index));
  return { items: kept.map((index) => batch[index] as T), places: (index: number) => kept[index] ?? index, failures };
}

function sliceEnd<T>(items: readonly T[], from: number, { maxItems, maxSize, sizeOf }: SliceLimits<T>): number {
  const last = Math.min(items.length, from + maxItems);
  if (maxSize === undefined || sizeOf === undefined) return last;
  let size = 0;
  for (let to = from; to < last; to++) {
    size += sizeOf(items[to] as T);
    if (size > maxSize && to > from) return to;
  }
  return last;
}
