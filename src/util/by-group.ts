/** What a batch reports for an item it could not do. */
interface Failure {
  readonly index: number;
  readonly error: Error;
}

/**
 * Does something for the items of each group, all groups at once. Failures are counted from the start of `items`. Rejects
 * where no group got through; else the items of one that did not are failures.
 */
export async function byGroup<T, K>(
  items: readonly T[],
  keyOf: (item: T) => K,
  act: (key: K, some: readonly T[]) => Promise<readonly Failure[]>,
): Promise<Failure[]> {
  const places = Map.groupBy(items.keys(), (i) => keyOf(items[i] as T));
  const failures: Failure[] = [];
  const errors: Error[] = [];
  await Promise.all(
    [...places].map(async ([key, own]) => {
      try {
        const some = own.map((i) => items[i] as T);
        for (const { index, error } of await act(key, some)) failures.push({ index: own[index] ?? index, error });
      } catch (cause) {
        const error = cause instanceof Error ? cause : new Error(String(cause));
        errors.push(error);
        for (const index of own) failures.push({ index, error });
      }
    }),
  );
  if (errors[0] && errors.length === places.size) throw errors[0];
  return failures.sort((a, b) => a.index - b.index);
}
