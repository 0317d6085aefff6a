import type { QueueDepth } from '../contracts/broker.ts';
import { StoreAccessError } from '../errors.ts';
import { isMissing, type SqsApi, type SqsQueue } from './sqs-api.ts';
import { isDeadName, mapped, queueOf, sqsName } from './sqs-names.ts';
import type { SqsQueues } from './sqs-queues.ts';

/** What there is: names of queues, and roughly how much is in them. */
export class SqsStock {
  readonly #queues: SqsQueues;
  readonly #api: SqsApi;

  constructor(queues: SqsQueues, api: SqsApi) {
    this.#queues = queues;
    this.#api = api;
  }

  /** The queues of the configuration, else those that begin with our prefix and are no dead letters, else those that were used. */
  async list(): Promise<string[]> {
    const { names, location } = this.#queues;
    if (location.predefined) return names.sort();
    const inSqs = await this.#api.listQueues(mapped(location.prefix)).catch((error: Error) => {
      if (error instanceof StoreAccessError) return [];
      throw error;
    });
    const all = new Set(names);
    // The way back from a name in SQS is not always clear: the names that we know come first.
    const known = new Set(names.map((name) => sqsName(name, location)));
    for (const name of inSqs) if (!known.has(name) && !isDeadName(name)) all.add(queueOf(name, location));
    return [...all].sort();
  }

  /** `undefined` for a queue that is not there, or may not be looked at while others may. */
  async count(names: readonly string[], readyOnly = false): Promise<(QueueDepth | undefined)[]> {
    const found = await Promise.allSettled(names.map((name) => this.#count(name, readyOnly)));
    const failed = found.filter((one) => one.status === 'rejected');
    if (failed[0] && failed.length === found.length) throw failed[0].reason;
    return found.map((one) => (one.status === 'fulfilled' ? one.value : undefined));
  }

  async purge(name: string): Promise<number> {
    const depth = await this.#count(name);
    const count = depth ? depth.ready + depth.delayed : 0;
    if (count === 0) return 0;
    const queue = await this.#queues.get(name);
    await queue.api.purge(queue);
    return count;
  }

  async #count(name: string, readyOnly = false): Promise<QueueDepth | undefined> {
    const { location } = this.#queues;
    try {
      // Looking creates nothing.
      const { names } = this.#queues;
      if (!names.includes(name) && (await this.#api.queueUrl(sqsName(name, location))) === undefined) return undefined;
      const queue = await this.#queues.get(name);
      const [own, dead] = await Promise.all([queue.api.attributes(queue), readyOnly ? 0 : this.#dead(name)]);
      const number = (key: string) => Number(own[`ApproximateNumberOfMessages${key}`] ?? 0);
      return { ready: number(''), inFlight: number('NotVisible'), delayed: number('Delayed'), dead };
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#queues.forget(name);
      return undefined;
    }
  }

  async #dead(name: string): Promise<number> {
    const dead = await this.#queues.deadIfAny(name);
    return dead ? depthOf(dead) : 0;
  }
}

/** About how many messages are in a queue. */
async function depthOf(queue: SqsQueue): Promise<number> {
  const attributes = await queue.api.attributes(queue);
  const number = (key: string) => Number(attributes[`ApproximateNumberOfMessages${key}`] ?? 0);
  return number('') + number('NotVisible') + number('Delayed');
}
