import { ConfigError, NotSupportedError } from '../errors.ts';
import { nearest } from './nearest.ts';

/** A kind of value an option may have: how to say it, test it, and read it from text. */
export interface Kind<T> {
  /** Ends the sentence "expected ...". */
  readonly expected: string;
  is(value: unknown): value is T;
  /** From an environment variable or a command line; `undefined` where the text is no such value. */
  parse(text: string): T | undefined;
}

/** One row of an option table. */
export interface OptionRow<T> {
  readonly kind: Kind<T>;
  /** What holds when it is not given; `undefined` says "nothing". */
  readonly default?: NoInfer<T>;
  /** One line for people. */
  readonly doc: string;
  /** Environment variables that set it, the first one set wins. */
  readonly env?: readonly string[];
  /** Celery's names of it, the present one first. */
  readonly celery?: readonly string[];
  /** Why it is refused for now. */
  readonly unsupported?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds rows of all kinds; each row's own type is kept by inference.
export type OptionTable = Readonly<Record<string, OptionRow<any>>>;

/** The options a table describes, all optional. */
export type OptionsOf<Table extends OptionTable> = {
  [Name in keyof Table]?: (Table[Name] extends OptionRow<infer T> ? T : never) | undefined;
};

/** A row whose option always has a value. */
export type DefaultedRow<T> = OptionRow<T> & { readonly default: NoInfer<T> };

/** Lets each row keep its own value type in a table. */
export function option<T>(row: DefaultedRow<T>): DefaultedRow<T>;
export function option<T>(row: OptionRow<T>): OptionRow<T>;
export function option<T>(row: OptionRow<T>): OptionRow<T> {
  return row;
}

function kind<T>(expected: string, is: (value: unknown) => boolean, parse: (text: string) => T | undefined): Kind<T> {
  return { expected, is: (value): value is T => is(value), parse };
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isNumber = (value: unknown, min: number, max: number): value is number =>
  typeof value === 'number' && value >= min && value <= max;

/** The kinds that tables are made of. */
export const kinds = {
  text: kind<string>(
    'a non-empty string',
    (v) => typeof v === 'string' && v !== '',
    (t) => (t === '' ? undefined : t),
  ),
  flag: kind<boolean>(
    'true or false',
    (v) => typeof v === 'boolean',
    (t) =>
      ({ true: true, '1': true, yes: true, on: true, false: false, '0': false, no: false, off: false })[
        t.toLowerCase()
      ],
  ),
  /** A whole number in a range. */
  int: (min: number, max = Number.MAX_SAFE_INTEGER) =>
    kind<number>(
      max === Number.MAX_SAFE_INTEGER ? `a whole number from ${min} up` : `a whole number from ${min} to ${max}`,
      (v) => isNumber(v, min, max) && Number.isInteger(v),
      (t) => (/^-?\d+$/.test(t.trim()) && isNumber(Number(t), min, max) ? Number(t) : undefined),
    ),
  /** Seconds, fractions allowed, as everywhere in Celery. */
  seconds: (min = 0) =>
    kind<number>(
      `a number of seconds from ${min} up`,
      (v) => isNumber(v, min, Number.MAX_VALUE),
      (t) => (t.trim() !== '' && isNumber(Number(t), min, Number.MAX_VALUE) ? Number(t) : undefined),
    ),
  /** One of a few words. */
  oneOf: <const Words extends readonly string[]>(...words: Words) =>
    kind<Words[number]>(
      `one of ${words.map((w) => `'${w}'`).join(', ')}`,
      (v) => typeof v === 'string' && words.includes(v),
      (t) => (words.includes(t) ? t : undefined),
    ),
  texts: kind<readonly string[]>(
    'a list of strings',
    (v) => Array.isArray(v) && v.every((x) => typeof x === 'string'),
    (t) =>
      t
        .split(',')
        .map((x) => x.trim())
        .filter((x) => x !== ''),
  ),
  map: kind<Readonly<Record<string, unknown>>>('an object', isMap, (t) => {
    try {
      const value: unknown = JSON.parse(t);
      return isMap(value) ? value : undefined;
    } catch {
      return undefined;
    }
  }),
  /** Anything a test accepts; cannot come from text unless `parse` is given. */
  custom: <T>(
    expected: string,
    is: (value: unknown) => boolean,
    parse: (text: string) => T | undefined = () => undefined,
  ) => kind<T>(expected, is, parse),
};

/** A value for people, short: what came where something else was expected. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (typeof value === 'function') return 'a function';
  if (value === null || typeof value !== 'object') return String(value);
  if (Array.isArray(value) && value.length <= 3 && value.every((item) => typeof item === 'number'))
    return `[${value.join(', ')}]`;
  return Array.isArray(value) ? 'a list' : `an object (${value.constructor?.name ?? 'no prototype'})`;
}

/**
 * Checks given options against a table. `where` names the call, as in "option 'quue' of app.task".
 * @throws ConfigError for an unknown name (with the nearest known one) or a wrong value
 * @throws NotSupportedError for a known option that this version refuses
 */
export function checkOptions(table: OptionTable, given: Readonly<Record<string, unknown>>, where: string): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const row = Object.hasOwn(table, name) ? table[name] : undefined;
    if (!row) {
      const close = nearest(name, Object.keys(table));
      const hint = close ? `did you mean '${close}'?` : `known options: ${Object.keys(table).join(', ')}`;
      throw new ConfigError(`${where} has no option '${name}'; ${hint}`);
    }
    if (row.unsupported)
      throw new NotSupportedError(`option '${name}' of ${where} is not supported: ${row.unsupported}`);
    if (!row.kind.is(value)) {
      throw new ConfigError(`option '${name}' of ${where}: expected ${row.kind.expected}, got ${show(value)}`);
    }
  }
}
