import { globSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError, TaskRegistryError } from '../../errors.ts';
import { callerFiles, importFile, shownPath } from '../../util/import-file.ts';
import type { Logger } from '../logger.ts';
import type { TaskDefinition } from './task.ts';

export interface DiscoveryOptions {
  /** Where relative patterns start: `import.meta.url` of the file that has them. */
  readonly from: string | URL;
}

interface Search {
  readonly patterns: readonly string[];
  readonly folder: string;
  /** The file that searches is built JavaScript, so what it looks for is too. */
  readonly built: boolean;
}

/** Finds and imports the files that register an application's tasks, and remembers which file registered what. */
export class Discovery {
  #searches: Search[] = [];
  #watching = false;
  #importing: string | undefined;
  #loading: Promise<void> = Promise.resolve();

  /** @throws ConfigError for patterns or a place that are none */
  add(patterns: readonly string[], options: DiscoveryOptions): void {
    if (!Array.isArray(patterns) || patterns.length === 0 || patterns.some((p) => typeof p !== 'string' || p === ''))
      throw new ConfigError("app.autodiscoverTasks: expected a list of patterns first, such as ['./apps/*/tasks.ts']");
    const from = options?.from;
    if (!(from instanceof URL) && typeof from !== 'string')
      throw new ConfigError('app.autodiscoverTasks: expected { from: import.meta.url } last: patterns start there');
    const file = from instanceof URL || from.startsWith('file:') ? fileURLToPath(from) : resolve(from);
    this.#searches.push({ patterns, folder: dirname(file), built: /\.m?js$/.test(file) });
    this.#watching = true;
  }

  /** The file to remember for a task that is being registered; only watched where tasks are discovered. */
  registering(): string | undefined {
    if (!this.#watching) return undefined;
    const files = callerFiles();
    // A helper of the user's may stand between a task file and the application.
    return this.#importing !== undefined && files.includes(this.#importing) ? this.#importing : files[0];
  }

  /**
   * Imports all files that match, once, sorted by path. `tasks` is what is registered.
   * @throws ConfigError for a pattern that matches nothing, and for a file that throws
   * @throws TaskRegistryError for a task name in two files
   */
  load(tasks: ReadonlyMap<string, TaskDefinition>, logger: Logger): Promise<void> {
    const searches = this.#searches;
    if (searches.length === 0) return this.#loading;
    this.#searches = [];
    const loading = this.#loading.then(() => this.#load(searches, tasks, logger));
    this.#loading = loading;
    loading.catch(() => {
      // The next one who asks is to hear of it too.
      this.#searches = [...searches, ...this.#searches];
      this.#loading = Promise.resolve();
    });
    return loading;
  }

  async #load(searches: readonly Search[], tasks: ReadonlyMap<string, TaskDefinition>, logger: Logger): Promise<void> {
    const files = new Set(searches.flatMap((search) => search.patterns.flatMap((pattern) => filesOf(pattern, search))));
    for (const file of [...files].sort()) {
      const before = tasks.size;
      await this.#import(file);
      if (tasks.size === before && ![...tasks.values()].some((task) => task.file === file))
        logger.warn({ file: shownPath(file) }, 'a task file registered no task');
    }
  }

  async #import(file: string): Promise<void> {
    this.#importing = file;
    try {
      await importFile(file, 'task');
    } catch (error) {
      // It names the files itself.
      if (error instanceof Error && error.cause instanceof TaskRegistryError) throw error.cause;
      throw error;
    } finally {
      this.#importing = undefined;
    }
  }
}

function filesOf(pattern: string, { folder, built }: Search): string[] {
  const wanted = built ? pattern.replace(/\.(m?)ts$/, '.$1js') : pattern;
  const files = globSync(wanted, { cwd: folder, exclude: (name) => name.includes('node_modules') })
    .filter((file) => /\.m?[tj]s$/.test(file) && !/\.d\.m?ts$/.test(file))
    .map((file) => resolve(folder, file));
  if (files.length > 0) return files;
  throw new ConfigError(`app.autodiscoverTasks: no file matches '${wanted}' in ${folder}`);
}

/** The error for a name that is taken, with the files where they are known. */
export function nameTaken({ name, file }: TaskDefinition, second: string | undefined): TaskRegistryError {
  if (file === undefined && second === undefined)
    return new TaskRegistryError(`there is a task '${name}' already; give this one another name`);
  const where = (known: string | undefined) => (known === undefined ? 'a file imported before' : shownPath(known));
  const both =
    file === second ? `registered twice in ${where(file)}` : `registered in ${where(file)} and in ${where(second)}`;
  return new TaskRegistryError(`task '${name}' is ${both}; give one of them another name`);
}
