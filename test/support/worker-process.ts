/** A worker in a process of its own: says its pid, `ready`, and `ended` with its status when it has ended after a signal. */
import { Worker } from '../../src/index.ts';

const { app } = await import(process.env.TEST_APP === 'pools' ? './pool-app.ts' : './app.ts');
const pool = process.env.TEST_MAIN_POOL as 'threads' | 'processes' | undefined;
const worker = new Worker(app, { pool, concurrency: Number(process.env.TEST_CONCURRENCY ?? 10) });
console.log(`pid ${process.pid}`);
const ended = worker.run();
await worker.start();
console.log('ready');
process.exitCode = await ended;
console.log(`ended ${process.exitCode}`);
await app.close();
