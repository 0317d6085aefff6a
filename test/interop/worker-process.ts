/** A TypeScript worker in a process of its own: says `ready`, and works until it is killed. */
import { Redis } from 'ioredis';
import { Worker } from '../../src/index.ts';
import { makeApp } from './tasks.ts';

const { TEST_URL: url = '', TEST_QUEUE: queue = '', TEST_OPTIONS: options = '{}' } = process.env;
const worker = new Worker(makeApp(url, new Redis(url), JSON.parse(options)), { queues: [queue] });
await worker.start();
console.log('ready');
