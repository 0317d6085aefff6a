import type { Results } from '../../app/results/results.ts';
import type { Broker } from '../../contracts/broker.ts';
import type { Delivery } from '../../contracts/message.ts';
import { LeaseLostError } from '../../errors.ts';
import type { WireMessage } from '../../wire/message.ts';
import type { Errand } from './errand.ts';
import { rememberEnd } from './job-message.ts';
import type { JobTag } from './job-renewer.ts';
import { claimKey, type EcsJob, type Jobs } from './jobs.ts';
import { type SqsHands, throwFirst } from './sqs-hands.ts';

/** What ends jobs. */
export interface JobParts {
  readonly jobs: Jobs;
  readonly hands: SqsHands;
  /** Where messages go back. */
  readonly broker: Pick<Broker, 'publishMany'>;
  /** Where it is remembered that a message with a large payload has ended. */
  readonly results: Results;
  readonly leaseMs: number;
}

/** A job in the hands of who has its claim. Its message is in no queue: it lies in the job, or the job says where. */
export class ClaimErrand implements Errand {
  readonly delivery: Delivery;
  readonly #parts: JobParts;
  readonly #job: EcsJob;
  readonly #holder: string;

  constructor(parts: JobParts, job: EcsJob, { holder, message }: { holder: string; message: WireMessage }) {
    this.#parts = parts;
    this.#job = job;
    this.#holder = holder;
    const tag: JobTag = { key: claimKey(job.id), holder };
    this.delivery = { queue: job.queue, message, tag, attempt: job.attempts };
  }

  /** @throws LeaseLostError where somebody else has the job */
  async renew(): Promise<void> {
    const { jobs, leaseMs } = this.#parts;
    const answer = await jobs.claim(this.#job.id, this.#holder, leaseMs);
    if (!answer.granted)
      throw new LeaseLostError(
        `job ${this.#job.id} is not ours any more: ${answer.done ? 'it is finished' : `${answer.holder} has it`}`,
      );
  }

  /** The payload last, and not before it is remembered that its message has ended: SQS may still have a copy of that. */
  async ack(): Promise<void> {
    const { jobs, hands, results } = this.#parts;
    const { id, payload } = this.#job;
    await this.renew();
    if (payload) await rememberEnd(results, payload);
    await jobs.finish(id, this.#holder);
    if (payload) await hands.dropPayload(payload);
  }

  /** Back to its queue, with this run uncounted. */
  release(delayMs: number): Promise<void> {
    return this.requeue({ attempts: Math.max(0, this.#job.attempts - 1), failedStarts: 0 }, delayMs);
  }

  /** Puts the message back into its queue. The intent is written first, so that a sweep can complete it. */
  async requeue(changes: Partial<EcsJob>, delayMs: number): Promise<void> {
    const { jobs, broker, hands } = this.#parts;
    await this.renew();
    const job = { ...this.#job, ...changes };
    const { queue, payload, groupKey } = job;
    await jobs.save({ ...job, state: 'requeue' });
    if (payload) await hands.resend({ queue, payload, groupKey, delayMs });
    else {
      const { message } = this.delivery;
      const outgoing = { queue, message, ...(groupKey !== undefined && { groupKey }) };
      throwFirst(await broker.publishMany([delayMs > 0 ? { ...outgoing, delayMs } : outgoing]));
    }
    await jobs.save({ ...job, state: 'queued' });
    await jobs.release(job.id, this.#holder);
  }

  /** To the dead letters; whoever puts it back from there begins anew. */
  async reject(reason: string): Promise<void> {
    const { jobs, hands } = this.#parts;
    await this.renew();
    const { id, queue, attempts, groupKey, payload } = this.#job;
    await hands.bury({ queue, message: this.delivery.message, payload, reason, attempts, groupKey });
    await jobs.forget(id);
    await jobs.release(id, this.#holder);
  }
}
