import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { LovageApp } from '../app/app.ts';
import { ConfigError } from '../errors.ts';
import { nearest } from '../util/nearest.ts';

const endings = ['.ts', '.mts', '.js', '.mjs'];
const example = 'such as -A ./src/app.ts, or -A ./src/app.ts:name for one export of several';

/**
 * Imports the application that `-A` names: a file (its ending may be left out) or a folder with an index, then perhaps
 * `:export`. Without an export: the default export, else `app`, else the only application that is exported. `from` says
 * in messages where the path was given.
 * @throws ConfigError saying what was looked for, what was found, and what to write
 */
export async function loadApp(given: string, from: string): Promise<LovageApp> {
  const [, path = given, exported] = /^(.+?):([A-Za-z_$][\w$]*)$/.exec(given) ?? [];
  const file = locate(path, from);
  return choose(await importFile(file), exported, shown(file));
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
    const hint = files.length > 0 ? `; it has ${files.map((file) => `-A ${shown(file)}`).join(', ')}` : '';
    throw new ConfigError(`${from} ${path}: the folder ${wanted} has no index.ts (or .mts, .js, .mjs)${hint}`);
  }
  const close = suggestions(path, wanted);
  const hint =
    close.length > 0
      ? `did you mean ${close.map((file) => `-A ${shown(file)}`).join(' or ')}?`
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

async function importFile(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await import(pathToFileURL(file).href);
  } catch (error) {
    throw new ConfigError(
      `the app file ${shown(file)} failed while it was loaded${advice(error, file)}\n\n${stackOf(error)}`,
    );
  }
}

function advice(error: unknown, file: string): string {
  const { code, message = '' } = error as { code?: string; message?: string };
  // All other bad syntax in TypeScript is found before V8 sees it, and has a code.
  const decorator = message === 'Invalid or unexpected token' && code === undefined && /\.m?ts$/.test(file);
  if (decorator || code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
    return ': Node only strips types. Use erasable syntax (no enum, namespace, parameter property or decorator), or build to JavaScript and give -A the built file';
  }
  const [, missing] = /Cannot find module '(.+?)\.m?js' imported/.exec(message) ?? [];
  if (code === 'ERR_MODULE_NOT_FOUND' && missing && isFile(`${missing}.ts`)) {
    return `: there is ${shown(`${missing}.ts`)}; import it with its real ending, .ts`;
  }
  return '';
}

/** The stack without Node's own lines and ours. */
function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return `thrown value: ${String(error)}`;
  const here = dirname(fileURLToPath(import.meta.url));
  const lines = (error.stack ?? error.message).split('\n');
  return lines
    .filter((line) => !/^\s+at /.test(line) || !(line.includes('node:internal') || line.includes(here)))
    .join('\n');
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

const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** A path as one would type it here. */
function shown(file: string): string {
  const short = relative(process.cwd(), file);
  return short.startsWith('..') ? file : `./${short}`;
}
