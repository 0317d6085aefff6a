import { ConfigError, ResourceError } from '../errors.ts';
import type { Logger } from './logger.ts';

export interface ResourceOptions<T> {
  /** Closes it. Without it: the value's own `Symbol.asyncDispose` or `Symbol.dispose`, where it has one. */
  close?: (value: T) => void | Promise<void>;
}

/** Something that each process of a worker has one of, such as a pool of connections. Made by `app.resource`. */
export interface Resource<T> extends AsyncDisposable {
  readonly name: string;
  /**
   * The open resource. In a task it is always open.
   * @throws ConfigError where it is not
   */
  readonly value: T;
  /** Opens it outside of a worker, as in a web process or a test; `app.close()` closes it. In a worker: the same as `value`. */
  open(): Promise<T>;
  /** Closes what `open()` opened, unless a worker of this process uses it. */
  close(): Promise<void>;
}

/** Who keeps resources open: a worker, or `open()`. */
type Holder = object;

/** A resource, whatever it is of. */
interface Held {
  readonly name: string;
  hold(holder: Holder): Promise<unknown>;
  open(): Promise<unknown>;
  release(holder: Holder): Promise<void>;
  close(): Promise<void>;
}

/** The resources of an application in this process. They are open as long as somebody holds them. */
export class Resources {
  readonly #all: Held[] = [];
  readonly #logger: () => Logger;

  constructor(logger: () => Logger) {
    this.#logger = logger;
  }

  /** @throws ConfigError for a name that is taken */
  add<T>(name: string, make: () => T | Promise<T>, options: ResourceOptions<T>): Resource<T> {
    if (typeof name !== 'string' || name === '')
      throw new ConfigError(`app.resource: expected a name first, got ${typeof name}`);
    if (typeof make !== 'function')
      throw new ConfigError(`resource '${name}': expected a function that opens it, got ${typeof make}`);
    if (this.#all.some((one) => one.name === name))
      throw new ConfigError(`there is a resource '${name}' already; give this one another name`);
    const resource = new OneResource(name, make, options, this.#logger);
    this.#all.push(resource);
    return resource;
  }

  /**
   * Opens all, in the order in which they were made, for `holder`.
   * @throws ResourceError for the first that cannot be opened; those before it are let go
   */
  async hold(holder: Holder): Promise<void> {
    try {
      for (const resource of this.#all) await resource.hold(holder);
    } catch (error) {
      await this.release(holder);
      throw error;
    }
  }

  /** Closes what nobody else holds, the last one first. Never throws: what goes wrong is logged. */
  async release(holder: Holder): Promise<void> {
    for (const resource of this.#all.toReversed()) await resource.release(holder);
  }

  /** Opens all as `open()` does: what is open already stays so. */
  async openAll(): Promise<void> {
    for (const resource of this.#all) await resource.open();
  }

  /** Closes what `open()` opened. */
  async closeOpened(): Promise<void> {
    for (const resource of this.#all.toReversed()) await resource.close();
  }
}

class OneResource<T> implements Resource<T> {
  readonly name: string;
  readonly #make: () => T | Promise<T>;
  readonly #options: ResourceOptions<T>;
  readonly #logger: () => Logger;
  readonly #holders = new Set<Holder>();
  #opening: Promise<T> | undefined;
  #open: { readonly value: T } | undefined;
  #closing: Promise<void> | undefined;

  constructor(name: string, make: () => T | Promise<T>, options: ResourceOptions<T>, logger: () => Logger) {
    this.name = name;
    this.#make = make;
    this.#options = options;
    this.#logger = logger;
  }

  get value(): T {
    if (this.#open) return this.#open.value;
    throw new ConfigError(
      `resource '${this.name}' is not open: a worker opens it when it starts; elsewhere call 'await ${this.name}.open()' on what app.resource returned`,
    );
  }

  open(): Promise<T> {
    return this.hold(this);
  }

  close(): Promise<void> {
    return this.release(this);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async hold(holder: Holder): Promise<T> {
    this.#holders.add(holder);
    await this.#closing;
    this.#opening ??= this.#start();
    try {
      return await this.#opening;
    } catch (error) {
      this.#holders.delete(holder);
      this.#opening = undefined;
      throw error;
    }
  }

  async release(holder: Holder): Promise<void> {
    if (!this.#holders.delete(holder) || this.#holders.size > 0) return;
    const opening = this.#opening;
    this.#opening = undefined;
    this.#closing = this.#end(opening).finally(() => {
      this.#closing = undefined;
    });
    await this.#closing;
  }

  async #start(): Promise<T> {
    try {
      const value = await this.#make();
      this.#open = { value };
      return value;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ResourceError(`resource '${this.name}' could not be opened: ${reason}`, { cause: error });
    }
  }

  async #end(opening: Promise<T> | undefined): Promise<void> {
    try {
      if (!opening) return;
      const value = await opening;
      this.#open = undefined;
      await (this.#options.close ? this.#options.close(value) : dispose(value));
    } catch (error) {
      this.#logger().error({ resource: this.name, error }, 'a resource could not be closed');
    }
  }
}

/** Has a value dispose of itself, where it can. */
export async function dispose(value: unknown): Promise<void> {
  if (isAsyncDisposable(value)) await value[Symbol.asyncDispose]();
  else if (isDisposable(value)) value[Symbol.dispose]();
}

function isAsyncDisposable(value: unknown): value is AsyncDisposable {
  return hasMethod(value, Symbol.asyncDispose);
}

function isDisposable(value: unknown): value is Disposable {
  return hasMethod(value, Symbol.dispose);
}

function hasMethod(value: unknown, name: symbol): boolean {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, name) === 'function';
}
