import { ArgumentsError } from '../../errors.ts';

/** What is known of a task function's parameters. */
export interface Params {
  /** Declared in the options, not read off the function. */
  readonly declared: boolean;
  /** `undefined` for a parameter without a name of its own (destructured). */
  readonly names: readonly (string | undefined)[];
  /** How many must be given. */
  readonly required: number;
  /** The function takes any number. */
  readonly rest: boolean;
}

/** Reads `params: ['x', 'y?']`. */
export function declaredParams(names: readonly string[]): Params {
  const rest = names.at(-1)?.startsWith('...') ?? false;
  const plain = rest ? names.slice(0, -1) : names;
  const required = plain.findIndex((name) => name.endsWith('?'));
  return {
    declared: true,
    names: plain.map((name) => (name.endsWith('?') ? name.slice(0, -1) : name)),
    required: required === -1 ? plain.length : required,
    rest,
  };
}

/** Reads parameter names off a function's own source; `skip` leaves out the bound context. */
// biome-ignore lint/suspicious/noExplicitAny: any function will do, none is called.
export function paramsOf(fn: (...args: any[]) => unknown, skip: number): Params {
  const parts = splitTopLevel(parameterSource(fn.toString()));
  const rest = parts.at(-1)?.startsWith('...') ?? false;
  const plain = (rest ? parts.slice(0, -1) : parts).slice(skip);
  const names = plain.map((part) => /^[\p{ID_Start}$_][\p{ID_Continue}$]*/u.exec(part)?.[0]);
  return { declared: false, names, required: Math.max(0, fn.length - skip), rest };
}

/**
 * Lays keyword arguments onto positions.
 * @throws ArgumentsError when they do not fit: unknown or repeated names, too many positions, missing ones
 */
export function bindArguments(
  task: string,
  params: Params,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  checkMissing: boolean,
): readonly unknown[] {
  const keywords = Object.keys(kwargs);
  if (args.length > params.names.length && !params.rest) {
    throw new ArgumentsError(`${task} takes ${count(params.names.length)}, got ${args.length}`);
  }
  if (keywords.length === 0 && (!checkMissing || args.length >= params.required)) return args;
  const bound: unknown[] = [...args];
  for (const name of keywords) {
    const at = params.names.indexOf(name);
    if (at === -1) {
      const known = params.names.filter((n) => n !== undefined).join(', ');
      throw new ArgumentsError(
        `${task} got an unexpected keyword argument '${name}'; its parameters are (${known}). Declare others with the task option params`,
      );
    }
    if (at < args.length) throw new ArgumentsError(`${task} got two values for its parameter '${name}'`);
    bound[at] = kwargs[name];
  }
  const missing = params.names
    .slice(0, params.required)
    .filter((name, i) => !(i in bound) || (i >= args.length && !(name !== undefined && Object.hasOwn(kwargs, name))));
  if (missing.length > 0) {
    const names = missing.map((name) => `'${name ?? '?'}'`).join(', ');
    throw new ArgumentsError(
      `${task} is missing ${names}. A parameter that may be left out needs a default value, or params: ['x', 'y?'] in the task options`,
    );
  }
  return Array.from({ length: bound.length }, (_, i) => bound[i]);
}

function count(n: number): string {
  return n === 1 ? '1 argument' : `${n} arguments`;
}

/** The text between the parentheses of a function's parameter list, or the lone name of an arrow function. */
function parameterSource(source: string): string {
  const lone = /^(?:async\s+)?([\p{ID_Start}$_][\p{ID_Continue}$]*)\s*=>/u.exec(source);
  if (lone?.[1]) return lone[1];
  const open = source.indexOf('(');
  const close = matching(source, open);
  return source.slice(open + 1, close);
}

/** Index of the bracket that closes the one at `open`, passing over strings and comments. */
function matching(source: string, open: number): number {
  let depth = 0;
  for (let i = open; i < source.length; i = skipQuoted(source, i) + 1) {
    const c = source[i];
    if (c === '(' || c === '[' || c === '{') depth += 1;
    else if (c === ')' || c === ']' || c === '}') {
      depth -= 1;
      if (depth === 0) return i;
    }
  }
  return source.length;
}

/** Where the string or comment that starts at `i` ends; `i` itself where none starts there. */
function skipQuoted(source: string, i: number): number {
  const c = source[i];
  if (c === '/' && source[i + 1] === '*') return source.indexOf('*/', i) + 1;
  if (c === '/' && source[i + 1] === '/') return source.indexOf('\n', i);
  if (c !== '"' && c !== "'" && c !== '`') return i;
  let end = i + 1;
  while (end < source.length && source[end] !== c) end += source[end] === '\\' ? 2 : 1;
  return end;
}

/** The parameters of a list, trimmed, without comments. */
function splitTopLevel(list: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (let i = 0; i < list.length; i += 1) {
    const end = skipQuoted(list, i);
    const c = list[i] ?? '';
    if (end !== i) {
      if (c !== '/') part += list.slice(i, end + 1);
      i = end;
      continue;
    }
    if ('([{'.includes(c)) depth += 1;
    if (')]}'.includes(c)) depth -= 1;
    if (c === ',' && depth === 0) {
      parts.push(part.trim());
      part = '';
    } else part += c;
  }
  if (part.trim() !== '') parts.push(part.trim());
  return parts;
}
