/**
 * Moves messages from a Redis to a stand-in for SQS while the command is killed, and counts what arrived:
 * `npm run migration -- --tasks 50000 --kills 1`. Ends with 1 where a message was lost or doubled.
 */
import { parseArgs } from 'node:util';
import { runMigration } from './run.ts';

const { values } = parseArgs({
  options: { tasks: { type: 'string', default: '50000' }, kills: { type: 'string', default: '1' } },
});
const outcome = await runMigration({
  tasks: Number(values.tasks),
  kills: Number(values.kills),
  log: (line) => console.error(line),
});
console.log(JSON.stringify(outcome, undefined, 2));
if (outcome.lost + outcome.doubled + outcome.strange + outcome.leftAtSource > 0) process.exitCode = 1;
