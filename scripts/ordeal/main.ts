/**
 * `npm run ordeal`: TypeScript and Python workers share a queue while they, the senders and Redis are killed. Ends with 0
 * where nothing is lost and every second run of a task is explained. See `--help`.
 */
import { provision } from '../provision.ts';
import { type OrdealOptions, readOptions } from './options.ts';
import { Ordeal } from './ordeal.ts';
import { isGood, judge, reportTable } from './report.ts';
import { openScreen } from './screen.ts';

const options = readOptions(process.argv.slice(2));
const missing = provision((line) => console.error(line));
if (missing.length > 0) {
  for (const { reason } of missing) console.error(reason);
  process.exitCode = 2;
} else process.exitCode = await ordeal(options);

async function ordeal(options: OrdealOptions): Promise<number> {
  await using ordeal = await Ordeal.start(options);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, async () => {
      await ordeal[Symbol.asyncDispose]();
      if (!options.keep) ordeal.forget();
      process.exit(130);
    });
  }
  const screen = openScreen(options);
  const startedAt = performance.now();
  await ordeal.run((sight) => screen.show(sight)).finally(() => screen.close());
  const seconds = (performance.now() - startedAt) / 1000;
  await ordeal.stop();
  const report = await judge(ordeal, seconds);
  const good = isGood(report, ordeal);
  console.log(options.json ? JSON.stringify(report) : reportTable(report));
  if (options.keep || !good) console.error(`The records and the logs are in ${ordeal.folder}`);
  else ordeal.forget();
  return good ? 0 : 1;
}
