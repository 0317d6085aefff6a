import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Megabytes of a process and its descendants. `pss` counts what processes share once; only Linux tells it. */
export interface TreeMemory {
  readonly rss: number;
  readonly pss: number | undefined;
}

interface Entry {
  readonly pid: number;
  readonly parent: number;
  readonly rssKb: number;
}

/** Measures a process tree. `undefined` where the system tells nothing, as on Windows. */
export function treeMemory(root: number): TreeMemory | undefined {
  const entries = treeOf(root, existsSync('/proc/self/status') ? fromProc() : fromPs());
  if (entries.length === 0) return undefined;
  const pss = entries.map(({ pid }) => pssKb(pid));
  return {
    rss: sum(entries.map(({ rssKb }) => rssKb)) / 1024,
    pss: pss.every((kb) => kb !== undefined) ? sum(pss) / 1024 : undefined,
  };
}

const sum = (terms: readonly number[]) => terms.reduce((a, b) => a + b, 0);

function treeOf(root: number, all: readonly Entry[]): Entry[] {
  const children = all.filter(({ parent }) => parent === root).flatMap(({ pid }) => treeOf(pid, all));
  return [...all.filter(({ pid }) => pid === root), ...children];
}

function fromProc(): Entry[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    const status = readIfThere(`/proc/${name}/status`);
    const field = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
    const rssKb = field('VmRSS');
    return rssKb > 0 ? [{ pid: Number(name), parent: field('PPid'), rssKb }] : [];
  });
}

function fromPs(): Entry[] {
  let listing: string;
  try {
    listing = execFileSync('ps', ['-axo', 'pid=,ppid=,rss='], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return [];
  }
  return listing.split('\n').flatMap((line) => {
    const [pid, parent, rssKb] = line.trim().split(/\s+/).map(Number);
    return pid === undefined || parent === undefined || rssKb === undefined ? [] : [{ pid, parent, rssKb }];
  });
}

function pssKb(pid: number): number | undefined {
  const found = /^Pss:\s+(\d+)/m.exec(readIfThere(`/proc/${pid}/smaps_rollup`))?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Processes end while one looks at them. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
