import { ConfigError } from '../../errors.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { kinds, type OptionsOf, option } from '../../util/options.ts';
import { readUrlOptions } from '../../util/url-options.ts';
import { MemoryBus } from './bus.ts';
import { Expiring } from './expiring.ts';
import { MemoryLimits } from './limits.ts';
import { MemoryMessages } from './messages.ts';
import { MemoryResults } from './results.ts';

/** What a `memory:` URL may carry behind its `?`, and the factories in their second argument. */
export const memoryOptions = {
  visibilityTimeout: option({
    kind: kinds.seconds(0.001),
    default: 30,
    doc: 'Seconds that a message stays with its worker unless extended; after that somebody else gets it.',
  }),
} as const;

/** The options of `memoryBroker` and `memoryBackend`. */
export type MemoryOptions = OptionsOf<typeof memoryOptions>;

/** Which store of this process is meant, and how it is to be used. */
export interface MemoryLocation {
  readonly name: string;
  readonly url: string;
  readonly visibilityMs: number;
}

/**
 * Reads `memory://name`. The name may be empty.
 * @throws ConfigError for another scheme or a wrong option
 */
export function memoryLocation(url: string, options: MemoryOptions = {}): MemoryLocation {
  const [, name, query = ''] = /^memory:(?:\/\/)?([^?]*)(?:\?(.*))?$/s.exec(url) ?? [];
  if (name === undefined) throw new ConfigError(`expected a URL such as memory://tests, got ${maskUrl(url)}`);
  const given = readUrlOptions(memoryOptions, query, options, `the memory URL ${maskUrl(url)}`);
  return {
    name,
    url: maskUrl(url),
    visibilityMs: (given.visibilityTimeout ?? memoryOptions.visibilityTimeout.default ?? 0) * 1000,
  };
}

/** Everything that brokers and backends of one name share. */
export class MemoryStore {
  readonly messages = new MemoryMessages();
  readonly bus = new MemoryBus();
  readonly results = new MemoryResults();
  readonly limits = new MemoryLimits();
  /** Keys of batches that were published once. */
  readonly published = new Expiring<true>();

  /** @internal */
  close(): void {
    this.messages.close();
    this.results.close();
  }
}

const stores = new Map<string, { readonly store: MemoryStore; users: number }>();

/** A store in use. Call `release` when done; the last one out drops the store with all that is in it. */
export interface MemoryHandle {
  readonly store: MemoryStore;
  release(): void;
}

/** The store of a name in this process, made if nobody uses it yet. */
export function openMemory(name: string): MemoryHandle {
  const shared = stores.get(name) ?? { store: new MemoryStore(), users: 0 };
  stores.set(name, shared);
  shared.users += 1;
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    shared.users -= 1;
    if (shared.users > 0) return;
    stores.delete(name);
    shared.store.close();
  };
  return { store: shared.store, release };
}

/** A store that has no name by which others could find it. */
export function openOwnMemory(): MemoryHandle {
  const store = new MemoryStore();
  return { store, release: () => store.close() };
}
