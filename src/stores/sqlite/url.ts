import { resolve } from 'node:path';
import { ConfigError } from '../../errors.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { kinds, type OptionsOf, option } from '../../util/options.ts';
import { readUrlOptions } from '../../util/url-options.ts';

/** What a `sqlite:` URL may carry behind its `?`, and the factories in their second argument. */
export const sqliteOptions = {
  visibilityTimeout: option({
    kind: kinds.seconds(0.001),
    default: 30,
    doc: 'Seconds that a message stays with its worker unless extended; after that somebody else gets it.',
  }),
  busyTimeout: option({
    kind: kinds.seconds(0),
    default: 5,
    doc: 'Seconds to wait for another process that holds the file before StoreLockedError.',
  }),
  synchronous: option({
    kind: kinds.oneOf('normal', 'full'),
    default: 'normal',
    doc: 'normal: survives kill -9 of any process; a power cut may undo the last transactions, never damage the file. full: survives a power cut too, at one disk flush a transaction.',
  }),
} as const;

/** The options of `sqliteBroker` and `sqliteBackend`. */
export type SqliteOptions = OptionsOf<typeof sqliteOptions>;

/** Where a SQLite store is and how it is to be opened. */
export interface SqliteLocation {
  /** Absolute. */
  readonly path: string;
  /** The URL with secrets masked. */
  readonly url: string;
  readonly visibilityMs: number;
  readonly busyMs: number;
  readonly synchronous: 'normal' | 'full';
}

/**
 * Reads `sqlite:///absolute.db`, `sqlite://relative.db` or `sqlite:relative.db`; relative paths are taken from the
 * current folder.
 * @throws ConfigError for another scheme, no path, `:memory:`, or a wrong option
 */
export function sqliteLocation(url: string, options: SqliteOptions = {}): SqliteLocation {
  const where = `the SQLite URL ${maskUrl(url)}`;
  const [, address, query = ''] = /^sqlite:(?:\/\/)?([^?]*)(?:\?(.*))?$/s.exec(url) ?? [];
  if (address === undefined) {
    throw new ConfigError(`expected a URL such as sqlite:///var/lib/app/tasks.db, got ${maskUrl(url)}`);
  }
  if (address === '' || address === '/') {
    throw new ConfigError(`${where} names no file: write sqlite:///absolute/path.db or sqlite://relative/path.db`);
  }
  if (address.endsWith(':memory:')) {
    throw new ConfigError(`${where}: a SQLite store lives in a file; for one inside this process use memory://`);
  }
  const given = readUrlOptions(sqliteOptions, query, options, where);
  return {
    path: resolve(decoded(address, where).replace(/^\/(?=[A-Za-z]:)/, '')),
    url: maskUrl(url),
    visibilityMs: (given.visibilityTimeout ?? sqliteOptions.visibilityTimeout.default ?? 0) * 1000,
    busyMs: (given.busyTimeout ?? sqliteOptions.busyTimeout.default ?? 0) * 1000,
    synchronous: given.synchronous ?? 'normal',
  };
}

function decoded(address: string, where: string): string {
  try {
    return decodeURIComponent(address);
  } catch {
    throw new ConfigError(`${where}: a % in the path must be written %25`);
  }
}
