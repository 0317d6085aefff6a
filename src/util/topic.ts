/** Whether somebody who listens to `wanted` hears `topic`. A `*` at the end stands for any ending. */
export function coversTopic(wanted: string, topic: string): boolean {
  return wanted.endsWith('*') ? topic.startsWith(wanted.slice(0, -1)) : topic === wanted;
}

/** Calls back into foreign code. What that throws is raised as from any event callback, and keeps nothing from others. */
export function callBack(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
