/** A worker process of Lovage, started by `worker-process.ts`. Works until SIGTERM, or until its parent is gone. */
import { Worker } from '../src/index.ts';
import { benchApp } from './app.ts';
import { beWorker } from './worker-process.ts';

const { url, concurrency } = beWorker();
const { app } = benchApp(url);
await new Worker(app, { concurrency }).run();
await app.close();
process.exit(0);
