import type { QueueDepth } from '../../contracts/broker.ts';
import { StoreAccessError } from '../../errors.ts';
import { isMissing, type SqsApi } from './api.ts';
import { isDeadName, mapped, queueOf, sqsName } from './names.ts';
import type { SqsQueues } from './queues.ts';

/** What there is: names of queues, and roughly how much is in them. */
export class SqsStock {
  readonly #queues: SqsQueues;
  readonly #api: SqsApi;

  constructor(queues: SqsQueues, api: SqsApi) {
    this.#queues = queues;
    this.#api = api;
  }

  /** Names without those of steps of priority, which belong to a queue. */
  #withoutSteps(names: Iterable<string>): string[] {
    const all = [...new Set(names)];
    const steps = new Set(
      all.flatMap((name) => this.#queues.steps(name)).flatMap(({ at, step }) => (step > 0 ? at : [])),
    );
    return all.filter((name) => !steps.has(name)).sort();
  }

  /** The queues of the configuration, else those that begin with our prefix and are no dead letters, else those that were used. */
  async list(): Promise<string[]> {
    const { names, location } = this.#queues;
    if (location.predefined) return this.#withoutSteps(names);
    const inSqs = await this.#api.listQueues(mapped(location.prefix)).catch((error: Error) => {
      if (error instanceof StoreAccessError) return [];
      throw error;
    });
    const all = new Set(names);
    // The way back from a name in SQS is not always clear: the names that we know come first.
    const known = new Set(names.map((name) => sqsName(name, location)));
    for (const name of inSqs) if (!known.has(name) && !isDeadName(name)) all.add(queueOf(name, location));
    return this.#withoutSteps(all);
  }

  /** `undefined` for a queue that is not there, or may not be looked at while others may. */
  async count(names: readonly string[], readyOnly = false): Promise<(QueueDepth | undefined)[]> {
    const found = await Promise.allSettled(names.map((name) => this.#count(name, readyOnly)));
    const failed = found.filter((one) => one.status === 'rejected');
    if (failed[0] && failed.length === found.length) throw failed[0].reason;
    return found.map((one) => (one.status === 'fulfilled' ? one.value : undefined));
  }

  async purge(name: string): Promise<number> {
    let count = 0;
    for (const { at } of this.#queues.steps(name)) {
      const depth = await this.#depth(at);
      const own = depth ? depth.ready + depth.delayed : 0;
      if (own === 0) continue;
      const queue = await this.#queues.get(at);
      await queue.api.purge(queue);
      count += own;
    }
    return count;
  }

  async #count(name: string, readyOnly = false): Promise<QueueDepth | undefined> {
    const steps = this.#queues.steps(name).map(({ at }) => at);
    const [depths, dead] = await Promise.all([
      Promise.all(steps.map((at) => this.#depth(at))),
      readyOnly ? 0 : this.#dead(name),
    ]);
    const own = depths.filter((depth) => depth !== undefined);
    const sum = (key: 'ready' | 'inFlight' | 'delayed') => own.reduce((total, depth) => total + depth[key], 0);
    return own.length === 0
      ? undefined
      : { ready: sum('ready'), inFlight: sum('inFlight'), delayed: sum('delayed'), dead };
  }

  async #depth(name: string): Promise<Omit<QueueDepth, 'dead'> | undefined> {
    const { location, names } = this.#queues;
    try {
      // Looking creates nothing.
      if (!names.includes(name) && (await this.#api.queueUrl(sqsName(name, location))) === undefined) return undefined;
      const queue = await this.#queues.get(name);
      return depthIn(await queue.api.attributes(queue));
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#queues.forget(name);
      return undefined;
    }
  }

  async #dead(name: string): Promise<number> {
    const dead = await this.#queues.deadIfAny(name);
    if (!dead) return 0;
    const { ready, inFlight, delayed } = depthIn(await dead.api.attributes(dead));
    return ready + inFlight + delayed;
  }
}

/** About how many messages are in a queue, by its attributes. */
function depthIn(attributes: Readonly<Record<string, string>>): Omit<QueueDepth, 'dead'> {
  const number = (key: string) => Number(attributes[`ApproximateNumberOfMessages${key}`] ?? 0);
  return { ready: number(''), inFlight: number('NotVisible'), delayed: number('Delayed') };
}
