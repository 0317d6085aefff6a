/** A worker process: `node bench/worker.ts <broker URL> <concurrency>`. Works until SIGTERM, or until its parent is gone. */
import { Worker } from '../src/index.ts';
import { benchApp } from './app.ts';

const [broker = '', concurrency = ''] = process.argv.slice(2);
process.once('disconnect', () => process.exit(1));
const { app } = benchApp(broker);
await new Worker(app, { concurrency: Number(concurrency) }).run();
await app.close();
process.exit(0);
