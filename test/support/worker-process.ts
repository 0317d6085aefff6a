/** A worker in a process of its own: says its pid, `ready`, and `ended` with its status when it has ended after a signal. */
import { Worker } from '../../src/index.ts';
import { app } from './app.ts';

const worker = new Worker(app, { concurrency: Number(process.env.TEST_CONCURRENCY ?? 10) });
console.log(`pid ${process.pid}`);
const ended = worker.run();
await worker.start();
console.log('ready');
process.exitCode = await ended;
console.log(`ended ${process.exitCode}`);
await app.close();
