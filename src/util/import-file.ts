import { statSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ConfigError } from '../errors.ts';

/** This package's own code: its lines in a stack say nothing to users. */
const ownFolder = dirname(import.meta.dirname);

/**
 * Imports a file of the user's.
 * @throws ConfigError that names the file as a `kind` of file, with the reason and the stack without Node's lines and ours
 */
export async function importFile(file: string, kind: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await import(pathToFileURL(file).href);
  } catch (error) {
    throw new ConfigError(
      `the ${kind} file ${shownPath(file)} failed while it was loaded${advice(error, file)}\n\n${stackOf(error)}`,
      { cause: error },
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
    return `: there is ${shownPath(`${missing}.ts`)}; import it with its real ending, .ts`;
  }
  return '';
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return `thrown value: ${String(error)}`;
  const lines = (error.stack ?? error.message).split('\n');
  return lines
    .filter((line) => !/^\s+at /.test(line) || !(line.includes('node:internal') || line.includes(ownFolder)))
    .join('\n');
}

/** The files of users on the stack of who asks, the innermost first. */
export function callerFiles(): string[] {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 30;
  const { stack = '' } = new Error();
  Error.stackTraceLimit = limit;
  const files = stack.split('\n').flatMap((line) => {
    const [, url, path] =
      /^\s+at (?:.*\()?(?:async )?(?:(file:\/\/[^)]+?)|(\/[^)]+?|[A-Za-z]:\\[^)]+?)):\d+:\d+\)?$/.exec(line) ?? [];
    const file = url === undefined ? path : fileURLToPath(url);
    return file === undefined || file.startsWith(ownFolder) ? [] : [file];
  });
  return [...new Set(files)];
}

export const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

/** A path as one would type it here. */
export function shownPath(file: string): string {
  const short = relative(process.cwd(), file);
  return short.startsWith('..') ? file : `./${short}`;
}
