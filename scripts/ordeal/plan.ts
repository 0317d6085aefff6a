import type { OrdealOptions } from './options.ts';

/** What is killed with SIGKILL, and what that does. */
export const killKinds = {
  'ts-worker': 'a TypeScript worker',
  'python-group': 'a Celery worker with its pool',
  'python-parent': 'a Celery worker; its pool outlives it by a second',
  'python-child': 'a process of the pool of a Celery worker',
  'ts-sender': 'the TypeScript sender',
  'python-sender': 'the Python sender',
} as const;
export type KillKind = keyof typeof killKinds;

/** A kill that is to come. */
export interface PlannedKill {
  readonly kind: KillKind;
  /** Tasks that have ended by then. */
  readonly afterDone: number;
}

/** Of a hundred kills behind the first of each kind. */
const shares: Readonly<Record<KillKind, number>> = {
  'ts-worker': 35,
  'python-group': 20,
  'python-parent': 15,
  'python-child': 15,
  'ts-sender': 8,
  'python-sender': 7,
};

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Each kind at least once, as far as there are kills enough, and all of them spread over the tasks. */
export function planKills(options: OrdealOptions, random: () => number): PlannedKill[] {
  const { kills, tasks } = options;
  const kinds = kindsOf(options);
  const chosen = Array.from({ length: kills }, (_, i) => kinds[i] ?? pick(kinds, random));
  // A sender may have sent its half when not quite half of all is done, and cannot be killed then.
  const early = Math.floor(kills * 0.45);
  const ordered = shuffled(chosen, random);
  for (let i = kills - 1; i >= early; i -= 1) {
    const kind = ordered[i];
    if (!kind?.endsWith('sender')) continue;
    const other = ordered.findIndex((one, at) => at < early && !one.endsWith('sender'));
    const instead = ordered[other];
    if (instead === undefined) continue;
    ordered[other] = kind;
    ordered[i] = instead;
  }
  // The last ones fall early enough for their successors to begin.
  const gap = (tasks * 0.92) / Math.max(1, kills);
  return ordered.map((kind, i) => ({ kind, afterDone: Math.floor(gap * (i + 0.2 + 0.6 * random())) }));
}

function kindsOf({ workersTs, workersPython }: OrdealOptions): KillKind[] {
  return (Object.keys(killKinds) as KillKind[]).filter((kind) => {
    if (kind === 'ts-worker') return workersTs > 0;
    return kind.endsWith('sender') || workersPython > 0;
  });
}

function pick(kinds: readonly KillKind[], random: () => number): KillKind {
  let at = random() * kinds.reduce((sum, kind) => sum + shares[kind], 0);
  for (const kind of kinds) {
    at -= shares[kind];
    if (at < 0) return kind;
  }
  return kinds[0] ?? 'ts-sender';
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
