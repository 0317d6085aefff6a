/**
 * A TypeScript sender in a process of its own. It writes down what it is about to send, and what was confirmed; whatever
 * was not, it or its successor sends again. Ends with 0 when everything is confirmed.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { app, side, step } from './app.ts';
import { endWithOrdeal, idOf, SENDS, sleepOf } from './side.ts';

const BATCH = 50;

endWithOrdeal();
const file = join(side.folder, SENDS, side.name);
const tries = new Map<number, number>();
const confirmed = new Set<number>();
if (existsSync(file)) {
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [what, , index = ''] = line.split(' ');
    if (what === 'try') tries.set(Number(index), (tries.get(Number(index)) ?? 0) + 1);
    if (what === 'sent') confirmed.add(Number(index));
  }
}

function note(what: string, messages: readonly (readonly [index: number, attempt: number])[]): void {
  if (messages.length === 0) return;
  const now = Date.now();
  appendFileSync(file, messages.map(([index, attempt]) => `${what} ${now} ${index} ${attempt}\n`).join(''));
}

const redis = new Redis(side.url, { maxRetriesPerRequest: null });
redis.on('error', () => {});

let open = Array.from({ length: side.end - side.first }, (_, i) => side.first + i).filter((i) => !confirmed.has(i));
while (open.length > 0) {
  while ((await redis.llen(side.queue)) > side.backlog) await sleep(50);
  const batch = open.slice(0, BATCH).map((index): [number, number] => {
    const attempt = (tries.get(index) ?? 0) + 1;
    tries.set(index, attempt);
    return [index, attempt];
  });
  note('try', batch);
  const calls = batch.map(([index, attempt]) =>
    step.applyAsync([index, attempt, sleepOf(index, side)], { taskId: idOf(index) }),
  );
  const outcomes = await Promise.allSettled(calls);
  const sent = batch.filter((_, i) => outcomes[i]?.status === 'fulfilled');
  const failed = batch.filter((_, i) => outcomes[i]?.status === 'rejected');
  note('sent', sent);
  note('failed', failed);
  open = [...failed.map(([index]) => index), ...open.slice(batch.length)];
  if (failed.length > 0) await sleep(100);
}
redis.disconnect();
await app.close();
process.exit(0);
