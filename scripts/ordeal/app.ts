/** The TypeScript side: an application with one task, which writes down when it begins and when it ends. */
import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lovage } from '../../src/index.ts';
import { RUNS, readSide } from './side.ts';

export const side = readSide();

// One file a process and one write a line: nothing is lost or mixed up, however the process ends.
let file: number | undefined;
function note(what: string, index: number, attempt: number): void {
  file ??= openSync(join(side.folder, RUNS, `${side.name}.${process.pid}.${process.pid}`), 'a');
  writeSync(file, `${what} ${Date.now()} ${index} ${attempt}\n`);
}

export const app = new Lovage('ordeal', {
  broker: side.url,
  brokerTransportOptions: {
    visibilityTimeout: side.visibilityTimeout,
    leaseTimeout: side.visibilityTimeout / 2,
  },
  taskDefaultQueue: side.queue,
  // The sender itself sends again, so that its record tells of each message.
  taskPublishRetry: false,
  // Debian's Celery is 5.2.
  jsonTags: false,
});

/** `attempt` tells the messages of one task apart that a sender had to send twice. */
export const step = app.task('ordeal.step', async (index: number, attempt: number, ms: number) => {
  note('begin', index, attempt);
  await sleep(ms);
  note('end', index, attempt);
  return index;
});
