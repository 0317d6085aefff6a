import { expect, test } from 'vitest';
import { rounds, signalOrdeal, sortedNotes, type Trial } from '../support/signal-ordeal.ts';
import { Workplace } from '../support/workplace.ts';

const half = (round: number) => round % 2 === 0;
const all = () => true;

test.each<[string, Trial]>([
  ['half of them with their whole process group', { task: 'tasks.nap', signal: 'SIGTERM', wholeGroup: half }],
  ['all with their group, and tasks run once', { task: 'tasks.napOnce', signal: 'SIGTERM', wholeGroup: all }],
  [
    'all with their group and the processes in which tasks run',
    { task: 'tasks.nap', pool: 'processes', signal: 'SIGTERM', wholeGroup: all },
  ],
  [
    'half of them with their group, and tasks run once in threads',
    { task: 'tasks.napOnce', pool: 'threads', signal: 'SIGTERM', wholeGroup: half },
  ],
  [
    'all with their group and those processes, and tasks run once',
    { task: 'tasks.napOnce', pool: 'processes', signal: 'SIGTERM', wholeGroup: all },
  ],
])(
  `${rounds} workers get SIGTERM at random moments, %s: nothing is lost, nothing runs twice`,
  {
    timeout: 300_000,
  },
  async (_name, trial) => {
    await using place = new Workplace();
    const { endings, ended } = await signalOrdeal(place, trial);
    expect(endings).toEqual(Array.from({ length: rounds }, () => 'ended 0'));
    expect(sortedNotes(place, 'end')).toEqual(ended);
    expect(sortedNotes(place, 'begin').length).toBe(ended.length);
  },
);

test.each(['async', 'threads', 'processes'] as const)(
  `${rounds} workers are killed at random moments: nothing is lost, with the pool %s`,
  {
    timeout: 180_000,
  },
  async (pool) => {
    await using place = new Workplace('?visibilityTimeout=1');
    const { endings, ended } = await signalOrdeal(place, {
      task: 'tasks.nap',
      signal: 'SIGKILL',
      wholeGroup: half,
      ...(pool !== 'async' && { pool }),
    });
    expect(endings).toEqual(Array.from({ length: rounds }, () => undefined));
    expect(new Set(sortedNotes(place, 'end'))).toEqual(new Set(ended));
  },
);
