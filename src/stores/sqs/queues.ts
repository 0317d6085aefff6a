import { ConfigError, StoreMissingError } from '../../errors.ts';
import { nearest } from '../../util/nearest.ts';
import { HOW_TO_CREATE, isMissing, openSqs, type SqsApi, type SqsQueue } from './api.ts';
import { deadName, isFifoName, sqsName, stepName } from './names.ts';
import { creationAttributes } from './setup.ts';
import type { SqsLocation } from './url.ts';

/** A queue that is looked for. */
interface Wanted {
  readonly name: string;
  readonly inSqs: string;
  readonly api: SqsApi;
  readonly creates: boolean;
}

/** The queues of a broker: where each is, asked for once, and created where that is wanted. */
export class SqsQueues {
  readonly location: SqsLocation;
  readonly #api: SqsApi;
  readonly #known = new Map<string, Promise<SqsQueue>>();
  readonly #dead = new Map<string, Promise<SqsQueue>>();
  readonly #apis = new Map<string, Promise<SqsApi>>();

  constructor(location: SqsLocation, api: SqsApi) {
    this.location = location;
    this.#api = api;
  }

  /** Names of queues that were used, and those of the configuration. */
  get names(): string[] {
    return [...new Set([...(this.location.predefined?.keys() ?? []), ...this.#known.keys()])];
  }

  /** The names of the queues that one queue has: more than itself where there are priorities. */
  steps(name: string): { at: string; step: number }[] {
    return (this.location.options.prioritySteps ?? [0]).map((step) => ({ at: stepName(name, step), step }));
  }

  /** The one of them for messages of a priority. */
  stepFor(name: string, priority: unknown): string {
    const { prioritySteps = [0] } = this.location.options;
    const wanted = typeof priority === 'number' ? priority : 0;
    return stepName(name, prioritySteps.findLast((step) => step <= wanted) ?? 0);
  }

  /** Where a queue is. @throws StoreMissingError where there is none, ConfigError for a name that cannot be */
  get(name: string): Promise<SqsQueue> {
    return kept(this.#known, name, () => this.#find(name));
  }

  /** Where the dead letters of a queue go: as its redrive policy says, else to our own queue beside it. */
  dead(name: string): Promise<SqsQueue> {
    return kept(this.#dead, name, () => this.#findDead(name, true));
  }

  /** The same, or `undefined` where there is none yet: looking creates nothing. */
  async deadIfAny(name: string): Promise<SqsQueue | undefined> {
    try {
      const known = this.#dead.get(name);
      if (known) return await known;
      const found = await this.#findDead(name, false);
      // Not while it is looked for: whoever would create it must not find that nobody has.
      this.#dead.set(name, Promise.resolve(found));
      return found;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Forgets where a queue was: it is gone. */
  forget(name: string): void {
    this.#known.delete(name);
    this.#dead.delete(name);
  }

  async close(): Promise<void> {
    for (const api of this.#apis.values())
      await api.then(
        (one) => one.close(),
        () => {},
      );
  }

  async #find(name: string): Promise<SqsQueue> {
    const { predefined, url } = this.location;
    if (predefined) {
      const given = predefined.get(name);
      if (!given) {
        const close = nearest(name, predefined.keys());
        const hint = close ? `did you mean '${close}'?` : `there are: ${[...predefined.keys()].join(', ')}`;
        throw new ConfigError(`${url}: there is no queue '${name}' in predefinedQueues; ${hint}`);
      }
      const api = given.address === this.location.address ? this.#api : await this.#apiFor(name);
      return { name, url: given.url, isFifo: isFifoName(given.url), api };
    }
    const inSqs = sqsName(name, this.location);
    return this.#found({ name, inSqs, api: this.#api, creates: true });
  }

  async #findDead(name: string, creates: boolean): Promise<SqsQueue> {
    const queue = await this.get(name);
    const { RedrivePolicy } = await queue.api.attributes(queue);
    const target = targetOf(RedrivePolicy);
    if (target) {
      const [account, inSqs = ''] = target.split(':').slice(4);
      const url = await queue.api.queueUrl(inSqs, account);
      if (url) return { name: inSqs, url, isFifo: isFifoName(inSqs), api: queue.api };
      throw new StoreMissingError(
        `queue '${inSqs}' of ${this.location.url} in ${queue.api.region} does not exist, though the redrive policy of queue '${name}' names it`,
      );
    }
    const inSqs = deadName(queue.url.slice(queue.url.lastIndexOf('/') + 1));
    return this.#found({ name: inSqs, inSqs, api: queue.api, creates });
  }

  async #found({ name, inSqs, api, creates }: Wanted): Promise<SqsQueue> {
    const { url: masked, options } = this.location;
    let url = await api.queueUrl(inSqs);
    if (url === undefined && creates && options.createMissing) {
      url = await api.createQueue(inSqs, creationAttributes(this.location, inSqs));
    }
    if (url !== undefined) return { name, url, isFifo: isFifoName(inSqs), api };
    const shown = inSqs === name ? '' : ` (in SQS '${inSqs}')`;
    throw new StoreMissingError(
      `queue '${name}'${shown} of ${masked} in ${api.region} does not exist: ${HOW_TO_CREATE}`,
    );
  }

  /** A client of its own for a predefined queue with its own region or keys. */
  #apiFor(name: string): Promise<SqsApi> {
    const { url, address, predefined } = this.location;
    const own = predefined?.get(name)?.address ?? address;
    return kept(this.#apis, JSON.stringify(own), () =>
      own.region === address.region && own.keys === address.keys ? Promise.resolve(this.#api) : openSqs(own, url),
    );
  }
}

/** The ARN of the queue of dead letters in a redrive policy. */
export function targetOf(policy: string | undefined): string | undefined {
  if (policy === undefined || policy === '') return undefined;
  const { deadLetterTargetArn }: { deadLetterTargetArn?: string } = JSON.parse(policy);
  return deadLetterTargetArn;
}

/** What is found once is kept; what fails is asked for again the next time. */
function kept<T>(map: Map<string, Promise<T>>, key: string, find: () => Promise<T>): Promise<T> {
  const before = map.get(key);
  if (before) return before;
  const finding = find();
  map.set(key, finding);
  finding.catch(() => map.delete(key));
  return finding;
}
