/** The file descriptor of a child process that closes when its parent dies; after those of stdio and of IPC. */
export const LIFELINE_FD = 4;

/** Ends a child process whose parent is gone, with the processes that its tasks have started. */
export function dieWithAll(): void {
  if (process.platform !== 'win32') process.kill(-process.pid, 'SIGKILL');
  process.kill(process.pid, 'SIGKILL');
}
