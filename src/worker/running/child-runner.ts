/** What the children of pools run: the application, loaded anew, and its tasks. */
import { LovageApp } from '../../app/app.ts';
import { Lifecycle } from '../../app/lifecycle.ts';
import type { PoolRunner } from '../../contracts/pool.ts';
import { ConfigError } from '../../errors.ts';
import { importFile, shownPath } from '../../util/import-file.ts';
import { decodeJson, encodeJson } from '../../wire/json.ts';
import type { Outcome, Run } from '../outcome.ts';
import { Executor } from './executor.ts';

/** How a child finds its application. Plain data. */
export interface ChildApp {
  /** The file that makes the application, and exports it. */
  readonly file: string;
  /** The application's name. */
  readonly name: string;
  /** Broker and result backend, where the worker was told others than the application's own. */
  readonly overrides: { readonly broker?: string; readonly backend?: string | false };
  /** The worker's node name. */
  readonly hostname: string;
}

/** Set in a child: code that would start a worker there is told so. */
const CHILD = Symbol.for('lovage.pool-child');

/** Whether this is a thread or process of a pool. */
export function isPoolChild(): boolean {
  return CHILD in globalThis;
}

/**
 * Loads the application in a child and makes what runs its tasks.
 * @throws ConfigError where the file cannot be loaded, or has no such application
 */
export async function taskRunner(childApp: ChildApp): Promise<PoolRunner<Run, Outcome>> {
  Object.defineProperty(globalThis, CHILD, { value: true });
  const { file, name, overrides, hostname } = childApp;
  const module = await importFile(file, 'app');
  const app = Object.values(module).find((value) => value instanceof LovageApp && value.name === name);
  if (!(app instanceof LovageApp)) {
    throw new ConfigError(
      `${shownPath(file)} exports no app named '${name}'. Threads and processes load it by themselves: export it from the file that makes it, or give the worker appFile`,
    );
  }
  app.override(overrides);
  const lifecycle = new Lifecycle(app, { hostname, child: true });
  await lifecycle.start();
  const executor = new Executor(app, hostname);
  return {
    async run(request, signal) {
      return sendable(await executor.run(request, signal));
    },
    async close() {
      await lifecycle.stop(AbortSignal.timeout(closeMs));
      await app.close();
    },
  };
}

/** How long listeners and resources of a child may take to end. */
const closeMs = 3_000;

/**
 * A value as its reader will see it: prototypes and `toJSON` would not survive the way to the parent, so that a result
 * would depend on where its task ran.
 */
function sendable(outcome: Outcome): Outcome {
  if (outcome.kind !== 'success') return outcome;
  const { value, children } = outcome;
  try {
    return { ...outcome, value: value === undefined ? undefined : decodeJson(encodeJson(value, { root: '' })) };
  } catch (error) {
    return { kind: 'failure', error, children };
  }
}
