import type { LovageApp } from '../app/app.ts';
import { configTable, type LovageOptions } from '../app/config.ts';
import { ConfigError } from '../errors.ts';
import { Lovage } from '../index.ts';
import { loadApp } from './load-app.ts';
import { Output } from './output.ts';

/** Options that every command has, before it or after it. */
export interface GlobalOptions {
  readonly app?: string;
  readonly broker?: string;
  readonly resultBackend?: string;
  readonly workdir?: string;
  readonly color?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

/** One run of the command line: its output, and the application it works with, which it closes at the end. */
export class Session {
  readonly out: Output;
  /** `-b` and `--result-backend`: they win over the application's own options. */
  readonly overrides: Pick<LovageOptions, 'broker' | 'backend'>;
  /** What `-A` or the environment names. */
  readonly appPath: string | undefined;
  readonly #appFrom: string;
  #app: LovageApp | undefined;

  /** @throws ConfigError for a folder that is not there */
  constructor({ app, broker, resultBackend, workdir, color = true, quiet, json }: GlobalOptions) {
    if (!color) {
      // The variable reaches everything that paints: this program, the logger, commander.
      process.env.NO_COLOR = '1';
      delete process.env.FORCE_COLOR;
    }
    if (workdir !== undefined) enter(workdir);
    this.out = new Output({ json, quiet });
    const variable = ['LOVAGE_APP', 'APP'].find((name) => process.env[name]);
    this.appPath = app ?? process.env[variable ?? ''];
    this.#appFrom = app === undefined ? `environment variable ${variable}` : '-A';
    this.overrides = {
      broker,
      backend: resultBackend === undefined ? undefined : configTable.backend.kind.parse(resultBackend),
    };
  }

  /** The application of `-A`; without it one that is made from the environment and the defaults. */
  async app(): Promise<LovageApp> {
    if (!this.#app) {
      this.#app = this.appPath === undefined ? new Lovage('lovage') : await loadApp(this.appPath, this.#appFrom);
      this.#app.override(this.overrides);
    }
    return this.#app;
  }

  /** The application of `-A`, for commands that need its tasks. */
  appWithTasks(): Promise<LovageApp> {
    if (this.appPath !== undefined) return this.app();
    throw new ConfigError('a worker needs the tasks of an app: lovage -A ./src/app.ts worker (or set LOVAGE_APP)');
  }

  async close(): Promise<void> {
    await this.#app?.close();
  }
}

function enter(folder: string): void {
  try {
    process.chdir(folder);
  } catch (error) {
    throw new ConfigError(`--workdir ${folder}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
