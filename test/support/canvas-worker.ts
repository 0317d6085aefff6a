/** A worker in a process of its own that runs the tasks of random workflows: says `ready`, and works until it is killed. */
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Lovage, type TaskContext, Worker } from '../../src/index.ts';

/** What a task of a random workflow does. */
export interface NodeSpec {
  /** Which it is. */
  readonly n: number;
  readonly kind: 'plain' | 'fail' | 'retry' | 'die' | 'replace';
}

const { TEST_BROKER: broker = '', TEST_FOLDER: folder = '', TEST_STORAGE: storage } = process.env;

/** True the first time it is asked for a name, over all processes. */
function first(name: string): boolean {
  const file = join(folder, name);
  if (existsSync(file)) return false;
  writeFileSync(file, '');
  return true;
}

function noteRun(id: string): void {
  if (folder !== '') appendFileSync(join(folder, 'runs'), `${id} ${process.pid}\n`);
}

/** `onRun` hears of each task that has come to its end, however that is stored. */
export function makeCanvasApp(
  url: string,
  canvasStorage: 'message' | 'backend',
  onRun: (id: string) => void = noteRun,
): Lovage {
  const app = new Lovage('graphs', {
    broker: url,
    taskMaxDeliveries: 50,
    canvasStorage,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    ...(url.startsWith('redis') && { brokerTransportOptions: { leaseTimeout: 2 } }),
  });
  const work = (self: TaskContext, ...args: unknown[]): number => {
    const { n, kind } = args.at(-1) as NodeSpec;
    const { id, retries } = self.request;
    if (kind === 'die' && process.env.TEST_WORKER_RUNS && first(`died-${id}`)) process.kill(process.pid, 'SIGKILL');
    if (kind === 'retry' && retries === 0) throw self.retry({ countdown: 0.01 });
    if (kind === 'fail') throw new RangeError(`node ${n}`);
    if (kind === 'replace')
      self.replace(app.signature(self.request.task, [...args.slice(0, -1), { n, kind: 'plain' }]) as never);
    onRun(id);
    return sumOf(n, args.slice(0, -1));
  };
  app.task('g.work', { bind: true, maxRetries: 3 }, work);
  app.task('g.once', { bind: true, maxRetries: 3, once: true }, work);
  return app;
}

/** What a node gives: its number and all that it was given. */
export function sumOf(n: number, inputs: readonly unknown[]): number {
  const numbers = inputs.flat(Number.POSITIVE_INFINITY) as number[];
  return (numbers.reduce((a, b) => (a * 31 + b) % 1_000_003, n) + numbers.length) % 1_000_003;
}

if (process.env.TEST_WORKER_RUNS) {
  const worker = new Worker(makeCanvasApp(broker, storage === 'backend' ? 'backend' : 'message'), { concurrency: 4 });
  await worker.start();
  console.log('ready');
}
