/** The application: what the web process sends and the workers run. */
import { Lovage } from 'lovage';

const url = process.env.BROKER_URL || process.env.REDIS_URL || 'redis://localhost:6379/0';
// The certificates of Heroku's Redis are signed by itself, so nobody can check them.
const transport = url.startsWith('rediss:') && process.env.DYNO ? { sslCertReqs: 'none' } : {};

export const app = new Lovage('heroku-example', {
  broker: url,
  backend: url,
  brokerTransportOptions: transport,
  resultBackendTransportOptions: transport,
});

/** What comes of a report. */
export interface Report {
  readonly words: number;
  readonly distinct: number;
  /** The most frequent words. */
  readonly top: readonly (readonly [word: string, count: number])[];
  /** How many runs it took: 1, or more where workers were stopped in the middle. */
  readonly runs: number;
}

/** How far a report has come. */
interface Progress {
  readonly part: number;
  readonly runs: number;
  readonly counts: Readonly<Record<string, number>>;
}

/** A report is made in so many parts; each takes a second, as if it asked a slow service. */
export const parts = 30;
const partMs = Number(process.env.PART_MS || 1000);

/** Counts the words of a text. When its worker is stopped in the middle, the next one goes on from there. */
export const report = app.task('reports.words', { bind: true }, async (self, text: string): Promise<Report> => {
  const words = text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
  const last = await self.lastCheckpoint<Progress>();
  const counts = new Map(Object.entries(last?.counts ?? {}));
  const runs = (last?.runs ?? 0) + 1;
  const first = last?.part ?? 0;
  if (last) self.logger.info({ part: first }, 'goes on from its checkpoint');
  for (let part = first; part < parts; part += 1) {
    await pause(partMs, self.signal);
    const from = Math.floor((words.length * part) / parts);
    const to = Math.floor((words.length * (part + 1)) / parts);
    for (const word of words.slice(from, to)) counts.set(word, (counts.get(word) ?? 0) + 1);
    await self.checkpoint({ part: part + 1, runs, counts: Object.fromEntries(counts) } satisfies Progress);
    await self.updateState('PROGRESS', { part: part + 1, of: parts });
  }
  const top = [...counts].sort(([, a], [, b]) => b - a).slice(0, 10);
  return { words: words.length, distinct: counts.size, top, runs };
});

/** Waits, and ends at once when the worker is stopping: then the task goes back to the queue. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
