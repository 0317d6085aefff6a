/**
 * How a worker ends. `warm`: running tasks get the grace time. `soft`: they get `workerSoftShutdownTimeout`. `cold`: they are
 * aborted and given back at once.
 */
export type StopMode = 'warm' | 'soft' | 'cold';

/** Signals that stop a worker. */
export const stopSignals = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;
export type StopSignal = (typeof stopSignals)[number];

/** What has to be known of a worker to read a signal. */
export interface Situation {
  /** How it is ending already, if it is. */
  readonly mode: StopMode | undefined;
  /** Milliseconds since the signal before this one, of whatever kind. */
  readonly sinceMs: number;
  /** `REMAP_SIGTERM=SIGQUIT` is set. */
  readonly remapped: boolean;
}

/** Signals within this time are one: a platform tells the whole process group, and npm or a shell passes it on as well. */
export const echoMs = 500;

/**
 * What a signal asks of a worker; `undefined` where it changes nothing. SIGTERM asks for a warm end, or a soft one where it
 * is remapped, and never hurries one that is under way: on Heroku a process gets it several times. SIGINT asks for a warm
 * end, and for the next mode when the worker is ending already. SIGQUIT asks for a soft end, and for a cold one after that.
 */
export function readSignal(signal: StopSignal, { mode, sinceMs, remapped }: Situation): StopMode | undefined {
  if (signal === 'SIGTERM') return mode ? undefined : remapped ? 'soft' : 'warm';
  if (signal === 'SIGINT' && !mode) return 'warm';
  const isEcho = sinceMs < echoMs && (signal === 'SIGINT' || mode !== 'warm');
  if (mode && isEcho) return undefined;
  return mode === 'soft' || mode === 'cold' ? 'cold' : 'soft';
}

/** Whether SIGTERM means SIGQUIT, as Celery has it for Heroku. Another value is of no use, which `warn` is told. */
export function isRemapped(
  { REMAP_SIGTERM: value }: Readonly<Record<string, string | undefined>>,
  warn: (text: string) => void,
): boolean {
  if (value && value !== 'SIGQUIT') warn(`REMAP_SIGTERM is ignored: expected SIGQUIT, got '${value}'`);
  return value === 'SIGQUIT';
}

/** Calls `onSignal` for each signal that stops a worker, with the milliseconds since the one before, until it is undone. */
export function listenForSignals(onSignal: (signal: StopSignal, sinceMs: number) => void): () => void {
  let last = Number.NEGATIVE_INFINITY;
  const listeners = stopSignals.map((signal) => {
    const listener = () => {
      const now = performance.now();
      const since = now - last;
      last = now;
      onSignal(signal, since);
    };
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => {
    for (const stopListening of listeners) stopListening();
  };
}
