/**
 * `npm run demo`: imports real CSV files into SQLite with two worker processes, kills one of them on the way, and checks
 * every row. See `--help`.
 */
import { type DemoOptions, readOptions, usage } from './options.ts';
import { withStage } from './stage.ts';
import { demo } from './story.ts';

function options(): DemoOptions | undefined {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return undefined;
  }
}

const given = options();
if (!given) process.exitCode = 2;
else if (given.help) console.log(usage);
else process.exitCode = await withStage(given, demo);
