/** A TypeScript worker in a process of its own. */
import { Worker } from '../../src/index.ts';
import { app, side } from './app.ts';
import { endWithOrdeal } from './side.ts';

endWithOrdeal();
const worker = new Worker(app, { concurrency: 4, queues: [side.queue] });
process.exitCode = await worker.run();
process.exit();
