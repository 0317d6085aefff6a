/** A worker in a process of its own: says `ready`, works until SIGTERM, and says `stopping` when it hears it. */
import { Worker } from '../../src/index.ts';
import { app } from './app.ts';

const worker = new Worker(app, { concurrency: Number(process.env.TEST_CONCURRENCY ?? 10) });
process.on('SIGTERM', () => console.log('stopping'));
const ended = worker.run();
await worker.start();
console.log('ready');
process.exitCode = await ended;
await app.close();
