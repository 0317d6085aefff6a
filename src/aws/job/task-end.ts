/** What the end of an ECS task means for its job. */
export interface TaskEnd {
  /**
   * - `failedStart`: its container never ran, or not long enough to show itself
   * - `died`: it ended under the job: killed, out of memory, crashed
   * - `free`: AWS took the machine away: it counts as nothing
   * - `stopped`: somebody stopped it on purpose
   */
  readonly kind: 'failedStart' | 'died' | 'free' | 'stopped';
  /** For logs, results and dead letters. */
  readonly reason: string;
  readonly exitCode: number | null;
}

/** A task that has stopped, as far as an event "ECS Task State Change" tells. */
export interface StoppedTask {
  readonly taskArn?: string | undefined;
  readonly lastStatus?: string | undefined;
  readonly startedBy?: string | undefined;
  readonly stopCode?: string | undefined;
  readonly stoppedReason?: string | undefined;
  readonly containers?:
    | readonly { readonly name?: string; readonly exitCode?: number | null; readonly reason?: string }[]
    | undefined;
}

const free: ReadonlySet<string> = new Set(['SpotInterruption', 'TerminationNotice', 'InfrastructureHealth']);

/** Says what the end of an ECS task means, by its stop code; `wasSeen`: its container had shown itself. */
export function readTaskEnd(
  { stopCode = '', stoppedReason = '', containers = [] }: StoppedTask,
  wasSeen: boolean,
): TaskEnd {
  const ended = containers.find(({ exitCode }) => typeof exitCode === 'number' && exitCode !== 0) ?? containers[0];
  const exitCode = ended?.exitCode ?? null;
  const parts = [
    stopCode,
    stoppedReason,
    ended?.reason,
    exitCode === null ? undefined : `container '${ended?.name}' exited with ${exitCode}${hintOf(exitCode)}`,
  ];
  const reason = [...new Set(parts.filter((part) => part))].join('; ');
  const kind = free.has(stopCode)
    ? 'free'
    : stopCode === 'UserInitiated'
      ? 'stopped'
      : stopCode === 'TaskFailedToStart' || !wasSeen
        ? 'failedStart'
        : 'died';
  return { kind, reason: reason === '' ? 'the ECS task has stopped' : reason, exitCode };
}

/** What an exit status is usually of. */
function hintOf(exitCode: number): string {
  if (exitCode === 137) return ' (SIGKILL: out of memory, or stopTimeout was over)';
  if (exitCode === 139) return ' (SIGSEGV)';
  if (exitCode === 143) return ' (SIGTERM)';
  return '';
}
