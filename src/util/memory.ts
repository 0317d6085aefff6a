import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';

/** What this process and those beside it may have in the end, in bytes: the limit of the container; `undefined` without one. */
export function containerBytes(): number | undefined {
  const limit = process.constrainedMemory();
  // Without a limit it is 0, or a number that no machine has.
  return limit > 0 && limit < totalmem() ? limit : undefined;
}

/** Resident memory of this process in bytes and, where the system tells (Linux), of the processes it has started. */
export function residentBytes(): number {
  return childIds(process.pid).reduce((sum, pid) => sum + residentBytesOf(pid), process.memoryUsage.rss());
}

/** Ids of the processes that a process has started and that are there still; none where the system does not tell. */
export function childIds(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Resident memory of a process in bytes; 0 where the system does not tell. */
export function residentBytesOf(pid: number): number {
  try {
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kibibytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}
