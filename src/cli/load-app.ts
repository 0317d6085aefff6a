import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { LovageApp } from '../app/app.ts';
import { ConfigError } from '../errors.ts';
import { importFile, isFile, shownPath } from '../util/import-file.ts';
import { nearest } from '../util/nearest.ts';

const endings = ['.ts', '.mts', '.js', '.mjs'];
const example = 'such as -A ./src/app.ts, or -A ./src/app.ts:name for one export of several';

/**
 * Imports the application that `-A` names: a file (its ending may be left out) or a folder with an index, then perhaps
 * `:export`. Without an export: the default export, else `app`, else the only application that is exported. Task files that
 * it discovers are loaded too. `from` says in messages where the path was given.
 * @throws ConfigError saying what was looked for, what was found, and what to write
 */
export async function loadApp(given: string, from: string): Promise<LovageApp> {
  const [, path = given, exported] = /^(.+?):([A-Za-z_$][\w$]*)$/.exec(given) ?? [];
  const file = locate(path, from);
  const app = choose(await importFile(file, 'app'), exported, shownPath(file));
  await app.loadTasks();
  return app;
}

function locate(path: string, from: string): string {
  const wanted = resolve(path);
  if (isFile(wanted)) return wanted;
  const found = endings.map((ending) => wanted + ending).find(isFile);
  if (found) return found;
  if (isFolder(wanted)) {
    const index = endings.map((ending) => join(wanted, `index${ending}`)).find(isFile);
    if (index) return index;
    const files = modulesIn(wanted);
    const hint = files.length > 0 ? `; it has ${files.map((file) => `-A ${shownPath(file)}`).join(', ')}` : '';
    throw new ConfigError(`${from} ${path}: the folder ${wanted} has no index.ts (or .mts, .js, .mjs)${hint}`);
  }
  const close = suggestions(path, wanted);
  const hint =
    close.length > 0
      ? `did you mean ${close.map((file) => `-A ${shownPath(file)}`).join(' or ')}?`
      : `expected a path, ${example}`;
  throw new ConfigError(`${from} ${path}: there is no file ${wanted} (nor with ${endings.join(', ')}); ${hint}`);
}

/** Files that were probably meant: of a similar name in the same folder, or what a dotted Python path would be here. */
function suggestions(path: string, wanted: string): string[] {
  const dotted = endings.map((ending) => resolve(path.replaceAll('.', '/') + ending)).filter(isFile);
  const folder = dirname(wanted);
  const stem = (file: string) => basename(file).replace(/\.[^.]+$/, '');
  const files = isFolder(folder) ? modulesIn(folder) : [];
  const close = nearest(stem(wanted), files.map(stem));
  return [...dotted, ...files.filter((file) => stem(file) === close)].slice(0, 3);
}

function modulesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => endings.some((ending) => name.endsWith(ending)) && !/\.d\.m?ts$/.test(name))
    .map((name) => join(folder, name));
}

function choose(module: Readonly<Record<string, unknown>>, exported: string | undefined, file: string): LovageApp {
  const apps = Object.entries(module).filter((entry): entry is [string, LovageApp] => entry[1] instanceof LovageApp);
  const names = apps.map(([name]) => name);
  if (exported !== undefined) {
    const wanted = apps.find(([name]) => name === exported);
    if (wanted) return wanted[1];
    const has = names.length > 0 ? `it exports the apps ${names.join(', ')}` : noApp(module);
    throw new ConfigError(
      `${file} ${exported in module ? `exports ${exported}, but it is no Lovage app` : `has no export '${exported}'`}; ${has}`,
    );
  }
  const preferred = apps.find(([name]) => name === 'default') ?? apps.find(([name]) => name === 'app');
  if (preferred) return preferred[1];
  const distinct = [...new Set(apps.map(([, app]) => app))];
  if (distinct.length > 1) {
    throw new ConfigError(
      `${file} exports several apps: ${names.join(', ')}; say which one, such as -A ${file}:${names[0]}`,
    );
  }
  const [only] = distinct;
  if (!only) throw new ConfigError(`${file} exports no Lovage app; ${noApp(module)}`);
  return only;
}

function noApp(module: Readonly<Record<string, unknown>>): string {
  const foreign = Object.entries(module).find(([, value]) => looksLikeApp(value));
  if (foreign) {
    return `${foreign[0]} was made by another copy of Lovage than this command; run the command of the project itself (npx lovage)`;
  }
  return `add: export const app = new Lovage('name')`;
}

function looksLikeApp(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && 'sendTask' in value && 'connections' in value && 'tasks' in value
  );
}

const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
