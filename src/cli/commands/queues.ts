import { Command } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import { table } from '../output.ts';
import { run, status } from '../run.ts';

/** One queue with how many messages it holds. */
export interface QueueRow {
  readonly queue: string;
  readonly ready: number;
  readonly inFlight: number;
  readonly delayed: number;
  readonly dead: number;
}

/** Dead letters are counted by listing them, so only up to this many. */
const mostDead = 10_000;

/** All queues with their depths, by name. */
export async function queueRows(app: LovageApp): Promise<QueueRow[]> {
  const broker = await app.broker();
  const letters = await broker.deadLetters.list({ limit: mostDead });
  const names = [...new Set([...(await broker.listQueues()), ...letters.map(({ queue }) => queue)])].sort();
  const depths = await broker.countMany(names);
  return names.map((queue, index) => ({
    queue,
    ...(depths[index] ?? { ready: 0, inFlight: 0, delayed: 0 }),
    dead: letters.filter((letter) => letter.queue === queue).length,
  }));
}

/** A table of queues. */
export function queueTable(rows: readonly QueueRow[]): string {
  const cells = rows.map(({ queue, ready, inFlight, delayed, dead }) => [
    queue,
    ...[ready, inFlight, delayed, dead].map(String),
  ]);
  return table(['queue', 'ready', 'in flight', 'delayed', 'dead'], cells, 1);
}

/** `lovage queues`: what waits where. */
export function queuesCommand(): Command {
  return new Command('queues')
    .description('list the queues with how many messages wait, run, are delayed and are dead')
    .action(
      run<[object]>(async (session) => {
        const rows = await queueRows(await session.app());
        session.out.answer(rows, () => (rows.length > 0 ? queueTable(rows) : 'No queues yet.'));
        return status.ok;
      }),
    );
}
