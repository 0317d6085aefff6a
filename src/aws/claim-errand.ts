import type { Broker } from '../contracts/broker.ts';
import type { Delivery } from '../contracts/message.ts';
import { LeaseLostError } from '../errors.ts';
import type { Errand } from './errand.ts';
import type { JobTag } from './job-renewer.ts';
import { claimKey, type EcsJob, type Jobs, unpackMessage } from './jobs.ts';
import { type SqsHands, throwFirst } from './sqs-hands.ts';

/** What ends jobs. */
export interface JobParts {
  readonly jobs: Jobs;
  readonly hands: SqsHands;
  /** Where messages go back. */
  readonly broker: Pick<Broker, 'publishMany'>;
  readonly leaseMs: number;
}

/** A job in the hands of who has its claim. Its message is in no queue: it lies in the job. */
export class ClaimErrand implements Errand {
  readonly delivery: Delivery;
  readonly #parts: JobParts;
  readonly #job: EcsJob;
  readonly #holder: string;

  constructor(parts: JobParts, job: EcsJob, holder: string) {
    this.#parts = parts;
    this.#job = job;
    this.#holder = holder;
    const tag: JobTag = { key: claimKey(job.id), holder };
    this.delivery = { queue: job.queue, message: unpackMessage(job.message), tag, attempt: job.attempts };
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

  async ack(): Promise<void> {
    await this.renew();
    await this.#parts.jobs.finish(this.#job.id, this.#holder);
  }

  /** Back to its queue, with this run uncounted. */
  release(delayMs: number): Promise<void> {
    return this.requeue({ attempts: Math.max(0, this.#job.attempts - 1), failedStarts: 0 }, delayMs);
  }

  /** Puts the message back into its queue. The intent is written first, so that a sweep can complete it. */
  async requeue(changes: Partial<EcsJob>, delayMs: number): Promise<void> {
    const { jobs, broker } = this.#parts;
    await this.renew();
    const job = { ...this.#job, ...changes };
    const { queue, message, groupKey } = job;
    await jobs.save({ ...job, state: 'requeue' });
    const outgoing = { queue, message: unpackMessage(message), ...(groupKey !== undefined && { groupKey }) };
    throwFirst(await broker.publishMany([delayMs > 0 ? { ...outgoing, delayMs } : outgoing]));
    await jobs.save({ ...job, state: 'queued' });
    await jobs.release(job.id, this.#holder);
  }

  /** To the dead letters; whoever puts it back from there begins anew. */
  async reject(reason: string): Promise<void> {
    const { jobs, hands } = this.#parts;
    await this.renew();
    const { id, queue, attempts, groupKey } = this.#job;
    await hands.bury({ queue, message: this.delivery.message, reason, attempts, groupKey });
    await jobs.forget(id);
    await jobs.release(id, this.#holder);
  }
}
