import { Command } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import type { Broker, QueueDepth } from '../../contracts/broker.ts';
import { table } from '../output.ts';
import { run, status } from '../run.ts';

/** One queue with how many messages it holds. */
export interface QueueRow extends QueueDepth {
  readonly queue: string;
}

/** All queues with their depths, by name. */
export async function queueRows(app: LovageApp): Promise<QueueRow[]> {
  const broker = await app.broker();
  return rowsOf(broker, (await broker.listQueues()).sort());
}

/** Those of some queues that exist. */
export async function rowsOf(broker: Broker, names: readonly string[]): Promise<QueueRow[]> {
  const depths = await broker.countMany(names);
  return names.flatMap((queue, index) => {
    const depth = depths[index];
    return depth ? [{ queue, ...depth }] : [];
  });
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
