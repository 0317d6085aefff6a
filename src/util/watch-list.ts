interface Watcher<R> {
  readonly onReady: (records: R[]) => void;
  readonly missing: Set<string>;
}

/** Remembers who waits for the results of which tasks, and tells each of them once. */
export class WatchList<R extends { readonly taskId: string }> {
  readonly #watchers = new Map<string, Set<Watcher<R>>>();

  /** How many tasks somebody waits for. */
  get size(): number {
    return this.#watchers.size;
  }

  /** The tasks that somebody waits for. */
  get taskIds(): string[] {
    return [...this.#watchers.keys()];
  }

  has(taskId: string): boolean {
    return this.#watchers.has(taskId);
  }

  /** Call what it returns to stop: nothing is told afterwards. */
  add(taskIds: readonly string[], onReady: (records: R[]) => void): () => void {
    const watcher = { onReady, missing: new Set(taskIds) };
    for (const id of watcher.missing) {
      const others = this.#watchers.get(id);
      if (others) others.add(watcher);
      else this.#watchers.set(id, new Set([watcher]));
    }
    return () => {
      for (const id of watcher.missing) this.#remove(id, watcher);
      watcher.missing.clear();
    };
  }

  /** Tells each watcher of these tasks, in one call each, and forgets that they waited. */
  deliver(records: readonly R[]): void {
    const found = new Map<Watcher<R>, R[]>();
    for (const record of records) {
      for (const watcher of this.#watchers.get(record.taskId) ?? []) {
        watcher.missing.delete(record.taskId);
        const list = found.get(watcher);
        if (list) list.push(record);
        else found.set(watcher, [record]);
      }
      this.#watchers.delete(record.taskId);
    }
    for (const [watcher, list] of found) watcher.onReady(list);
  }

  #remove(taskId: string, watcher: Watcher<R>): void {
    const watchers = this.#watchers.get(taskId);
    watchers?.delete(watcher);
    if (watchers?.size === 0) this.#watchers.delete(taskId);
  }
}
