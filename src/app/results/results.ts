import { isFinished, type ResultBackend, type ResultRecord, savedGroupKey } from '../../contracts/backend.ts';
import { ConfigError, TimeoutError } from '../../errors.ts';
import { Batcher } from '../../util/batcher.ts';
import { checkOptions, kinds, type OptionsOf, type OptionTable, option } from '../../util/options.ts';
import { maxTimerMs } from '../../util/sleep.ts';
import { decodeDocument, encodeDocument } from '../../wire/document.ts';
import { decodeResult, encodeResult } from '../../wire/result.ts';
import { decodeSavedGroup, encodeSavedGroup, type ResultNode } from '../../wire/result-tuple.ts';
import type { ResultMeta, WireSignature } from '../../wire/task-message.ts';
import type { Config } from '../config.ts';

const waitOptionTable = {
  timeout: option({ kind: kinds.seconds(), doc: 'Seconds. Without it: for as long as it takes.' }),
  signal: option<AbortSignal>({
    kind: kinds.custom('an AbortSignal', (v) => v instanceof AbortSignal),
    doc: 'Ends the waiting when it aborts.',
  }),
} satisfies OptionTable;

/** How long to wait: `timeout` in seconds, and a `signal`. */
export type WaitOptions = OptionsOf<typeof waitOptionTable>;

/** Reads and writes results: the one place that knows how they are serialized and how one waits for them. */
export class Results {
  readonly #backend: ResultBackend | undefined;
  readonly #config: Config;
  readonly #watcher: Batcher<Wait>;

  constructor(backend: ResultBackend | undefined, config: Config) {
    this.#backend = backend;
    this.#config = config;
    this.#watcher = new Batcher((waits) => this.#watch(waits), 10_000);
  }

  get backend(): ResultBackend | undefined {
    return this.#backend;
  }

  /** @throws ConfigError where the application keeps no results */
  required(): ResultBackend {
    if (this.#backend) return this.#backend;
    throw new ConfigError(
      'this application keeps no results (backend: false), so there is nothing to ask; set the option backend',
    );
  }

  /** @throws SerializationError for a value that the result serializer cannot write */
  encode(meta: ResultMeta): ResultRecord {
    const { resultSerializer, jsonTags } = this.#config;
    return {
      taskId: meta.taskId,
      state: meta.state,
      document: encodeResult(meta, { serializer: resultSerializer, jsonTags }),
    };
  }

  decode(record: ResultRecord): ResultMeta {
    return decodeResult(record.document, { serializer: this.#config.resultSerializer });
  }

  /** Milliseconds that results are kept; `undefined` for ever. */
  get ttlMs(): number | undefined {
    return this.#config.resultExpires > 0 ? this.#config.resultExpires * 1000 : undefined;
  }

  async fetch(taskId: string): Promise<ResultMeta | undefined> {
    const [record] = await this.required().fetchMany([taskId]);
    return record && this.decode(record);
  }

  /** `ttlMs` overrides how long it is kept. */
  async store(meta: ResultMeta, ttlMs = this.ttlMs): Promise<void> {
    const [failure] = await this.required().storeMany([this.encode(meta)], ttlMs);
    if (failure) throw failure.error;
  }

  /** Keeps which tasks a group has. Not a finished state, so that it may be saved again. */
  async saveGroup(group: ResultNode): Promise<void> {
    const document = encodeSavedGroup(group, this.#config.resultSerializer);
    const record = { taskId: savedGroupKey(group.id), state: 'GROUP', document };
    const [failure] = await this.required().storeMany([record], this.ttlMs);
    if (failure) throw failure.error;
  }

  /** Keeps signatures under keys that no task has. */
  async keepSignatures(kept: ReadonlyMap<string, WireSignature>, ttlMs = this.ttlMs): Promise<void> {
    const { resultSerializer, jsonTags } = this.#config;
    const records = [...kept].map(([taskId, one]) => ({
      taskId,
      state: 'CANVAS',
      document: encodeDocument(one, resultSerializer, jsonTags),
    }));
    const [failure] = await this.required().storeMany(records, ttlMs);
    if (failure) throw failure.error;
  }

  async fetchSignature(key: string): Promise<unknown> {
    const [record] = await this.required().fetchMany([key]);
    return record && decodeDocument(record.document, this.#config.resultSerializer);
  }

  /** A saved group, with all that it has. */
  async fetchGroup(groupId: string): Promise<ResultNode | undefined> {
    const [record] = await this.required().fetchMany([savedGroupKey(groupId)]);
    return record && decodeSavedGroup(record.document, this.#config.resultSerializer);
  }

  async forgetGroup(groupId: string): Promise<void> {
    await this.required().forgetMany([savedGroupKey(groupId)]);
  }

  /**
   * Waits until a task has finished. Waits of one turn share one watch.
   * @throws TimeoutError after `timeout`; the signal's reason when it aborts
   */
  async wait(taskId: string, { timeout, signal, ...unknown }: WaitOptions = {}): Promise<ResultMeta> {
    this.required();
    checkOptions(waitOptionTable, { timeout, signal, ...unknown }, 'get()');
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<ResultRecord>();
    const wait: Wait = { taskId, resolve, over: false, onOver: () => {} };
    const onAbort = () => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer =
      timeout === undefined
        ? undefined
        : setTimeout(() => reject(notFinished(taskId, timeout)), Math.min(timeout * 1000, maxTimerMs));
    this.#watcher.add(wait).catch(reject);
    try {
      return this.decode(await promise);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      wait.over = true;
      wait.onOver();
    }
  }

  /** One watch for the waits of a batch; it ends when the last of them is over. */
  async #watch(batch: readonly Wait[]): Promise<[]> {
    const waits = batch.filter((wait) => !wait.over);
    const byTask = Map.groupBy(waits, (wait) => wait.taskId);
    let open = waits.length;
    let unwatch: (() => Promise<void>) | undefined;
    for (const wait of waits) {
      wait.onOver = () => {
        open -= 1;
        if (open === 0) void unwatch?.();
      };
    }
    unwatch = await this.required().watch([...byTask.keys()], (records) => {
      for (const record of records) {
        if (isFinished(record.state)) for (const wait of byTask.get(record.taskId) ?? []) wait.resolve(record);
      }
    });
    if (open === 0) await unwatch();
    return [];
  }
}

/** Somebody who waits for a task to finish. */
interface Wait {
  readonly taskId: string;
  readonly resolve: (record: ResultRecord) => void;
  over: boolean;
  onOver: () => void;
}

function notFinished(taskId: string, seconds: number): TimeoutError {
  return new TimeoutError(`task ${taskId} has not finished within ${seconds} s; it may still be waiting or running`);
}
