import { type RedisLocation, redisOptions } from './url.ts';

/**
 * The names of keys and channels on a Redis: kombu's for what Python shares, those that begin with `lovage:` for the
 * rest. A *list* below is the name of a queue's list for one priority step, without the prefix.
 */
export class RedisLayout {
  readonly prefix: string;
  readonly sep: string;
  readonly steps: readonly number[];
  readonly unacked: string;
  readonly unackedIndex: string;
  readonly db: number;
  /** In front of the channels of events and remote control. */
  readonly fanout: string;

  constructor({ keyPrefix, address, options }: RedisLocation) {
    const { fanoutPrefix = true } = options;
    this.prefix = keyPrefix;
    this.sep = options.sep ?? redisOptions.sep.default;
    this.steps = options.prioritySteps ?? redisOptions.prioritySteps.default;
    this.unacked = keyPrefix + (options.unackedKey ?? redisOptions.unackedKey.default);
    this.unackedIndex = keyPrefix + (options.unackedIndexKey ?? redisOptions.unackedIndexKey.default);
    this.db = address.db;
    this.fanout = keyPrefix + (typeof fanoutPrefix === 'string' ? fanoutPrefix : fanoutPrefix ? `/${address.db}.` : '');
  }

  /** The list for messages of a priority: that of the next lower step. */
  list(queue: string, priority: unknown): string {
    const wanted = typeof priority === 'number' ? Math.min(9, Math.max(0, priority)) : 0;
    return this.#list(queue, this.steps.findLast((step) => step <= wanted) ?? 0);
  }

  /** All lists of a queue, the most urgent first. */
  lists(queue: string): string[] {
    return this.steps.map((step) => this.#list(queue, step));
  }

  /** The queue that a list belongs to. */
  queueOf(list: string): string {
    for (const step of this.steps) {
      const ending = `${this.sep}${step}`;
      if (step > 0 && list.length > ending.length && list.endsWith(ending)) return list.slice(0, -ending.length);
    }
    return list;
  }

  /** The set that binds a queue to the exchange of its name, as Celery declares it. */
  binding(queue: string): string {
    return `${this.prefix}_kombu.binding.${queue}`;
  }

  bindingMember(queue: string): string {
    return `${queue}${this.sep}${this.sep}${queue}`;
  }

  /** One of our own keys. */
  own(name: string): string {
    return `${this.prefix}lovage:${name}`;
  }

  /** Says that there is something in an empty queue again; the empty name stands for all queues. */
  wakeChannel(queue: string): string {
    return this.own(`wake:${this.db}:${queue}`);
  }

  #list(queue: string, step: number): string {
    return step === 0 ? queue : `${queue}${this.sep}${step}`;
  }
}
