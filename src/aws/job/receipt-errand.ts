import type { Results } from '../../app/results/results.ts';
import type { Delivery } from '../../contracts/message.ts';
import { ConfigError, DecodeError, LeaseLostError } from '../../errors.ts';
import { decodeBody, deliveryOf, readableBody, type Taken } from '../../stores/sqs/messages.ts';
import type { Held } from '../../stores/sqs/settling.ts';
import { derivedId } from '../../util/ids.ts';
import { sibling } from '../../util/sibling.ts';
import { decodeTask } from '../../wire/protocol.ts';
import { acceptList } from '../../wire/serializers.ts';
import type { TaskMessage } from '../../wire/task-message.ts';
import type { Errand } from './errand.ts';
import { jobEnv, type Receipt } from './job-env.ts';
import { hasEnded, rememberEnd } from './job-message.ts';
import type { JobTag } from './job-renewer.ts';
import { claimKey, Jobs, jobId } from './jobs.ts';
import type { Runnable, RunOneEnd, RunOneParts } from './run-one.ts';
import { type SqsHands, throwFirst } from './sqs-hands.ts';
import { tellState } from './tell-state.ts';

const finished = 'already finished: its message is deleted';
const expired =
  'its receipt has expired: skipped. SQS hands the message out again, unless it was deleted; is startTimeout too short for this image?';

/** A message that stays in SQS while it runs: it is extended, and at the end deleted. */
class ReceiptErrand implements Errand {
  readonly delivery: Delivery;
  readonly #hands: SqsHands;
  readonly #held: Held;
  readonly #results: Results;
  readonly #gate: Gate | undefined;
  readonly #leaseMs: number;

  constructor(hands: SqsHands, held: Held, { body, gate, results, leaseMs }: ReceiptParts) {
    this.#hands = hands;
    this.#held = held;
    this.#gate = gate;
    this.#results = results;
    this.#leaseMs = leaseMs;
    this.delivery = deliveryFor(held, body);
  }

  async renew(): Promise<void> {
    await this.#gate?.renew();
    throwFirst(await this.#hands.settling.hide(this.#held.taken.queue, [this.#held], () => this.#leaseMs));
  }

  /** The message late: whatever dies before it leaves something that finds out that the job has ended. Its payload last. */
  async ack(): Promise<void> {
    await this.#gate?.finish();
    await endMessage(this.#hands, this.#results, this.#held);
  }

  async release(delayMs: number): Promise<void> {
    await this.#gate?.release();
    throwFirst(await this.#hands.settling.release([this.#held], delayMs));
  }

  async reject(reason: string): Promise<void> {
    await this.#gate?.release();
    throwFirst(await this.#hands.settling.reject([this.#held], [reason]));
  }
}

interface ReceiptParts {
  /** As it was sent, not where it lies. */
  readonly body: string;
  readonly gate: Gate | undefined;
  readonly results: Results;
  readonly leaseMs: number;
}

/** That a message is run by one container at a time, and never again once it has ended. */
interface Gate {
  readonly tag: JobTag;
  renew(): Promise<void>;
  finish(): Promise<void>;
  release(): Promise<void>;
}

/** Reads a receipt, and passes the gate. */
export async function openReceipt(parts: RunOneParts, text: string, inSqs: string): Promise<Runnable | RunOneEnd> {
  const { app, hands, real, hostname, leaseMs } = parts;
  const { results } = await app.connections();
  const held = await hold(hands, text, inSqs);
  const body = await bodyOf(parts, held);
  if (typeof body !== 'string') return body;
  const message = await readTask(app.config.acceptContent, body);
  // One that cannot be read goes to the dead letters, by the worker.
  const gate = message && (await openGate(parts, message, held));
  if (gate && 'kind' in gate) return gate;
  try {
    throwFirst(await hands.settling.hide(held.taken.queue, [held], () => leaseMs));
  } catch (error) {
    // Whoever gets the message next must not wait for us.
    await gate?.release();
    if (!(error instanceof LeaseLostError)) throw error;
    app.logger.warn({ messageId: held.taken.tag.id }, expired);
    return { kind: 'skipped', reason: expired };
  }
  if (message) await tellState(results, message, 'RUNNING', { hostname, attempt: held.taken.attempt });
  return {
    errand: new ReceiptErrand(hands, held, { body, gate, results, leaseMs }),
    renewer: {
      extendMany: async (leases, ms) => {
        await gate?.renew();
        return real.extendMany(leases, ms);
      },
    },
    recipe: real.recipe && {
      module: sibling(import.meta.url, 'job-renewer').href,
      factory: 'receiptRenewer',
      args: [real.recipe, results.backend?.recipe, gate?.tag],
    },
  };
}

async function hold(hands: SqsHands, text: string, body: string): Promise<Held> {
  const { queue: name, url, handle, id, at, attempt, attributes = {}, group } = readReceipt(text);
  const queue = { ...(await hands.queues.get(name)), url };
  const taken: Taken = {
    queue,
    tag: { url, handle, id, at },
    body,
    attributes,
    group,
    sourceArn: undefined,
    sentAt: at,
    attempt,
    dueAt: undefined,
  };
  return hands.hold(taken, name);
}

function readReceipt(text: string): Receipt {
  try {
    const receipt = JSON.parse(text) as Receipt;
    const { queue, url, handle, id, at, attempt } = receipt;
    if ([queue, url, handle, id].every((one) => typeof one === 'string') && [at, attempt].every(Number.isFinite))
      return receipt;
  } catch {
    // Said below.
  }
  throw new ConfigError(
    `${jobEnv.receipt}: expected what ecsDispatcher writes, a JSON object with queue, url, handle, id, at and attempt`,
  );
}

/** The body as it was sent. One that is lost ends the message: as a copy of what has ended, else as a dead letter. */
async function bodyOf({ app, hands }: RunOneParts, held: Held): Promise<string | RunOneEnd> {
  try {
    return await hands.bodyOf(held.taken);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const { results } = await app.connections();
    const isCopy = await hasEnded(results, held.taken);
    const reason = isCopy ? finished : error.message;
    app.logger.warn({ messageId: held.taken.tag.id }, reason);
    throwFirst(await (isCopy ? hands.settling.ack([held]) : hands.settling.reject([held], [reason])));
    return { kind: 'skipped', reason };
  }
}

/** Deletes a message, and then what was too large for it. */
async function endMessage(hands: SqsHands, results: Results, held: Held): Promise<void> {
  const payload = hands.payloadOf(held.taken);
  if (payload) await rememberEnd(results, payload);
  throwFirst(await hands.settling.ack([held]));
  if (payload) await hands.dropPayload(payload);
}

async function readTask(accept: readonly string[], body: string): Promise<TaskMessage | undefined> {
  try {
    return await decodeTask(decodeBody(body), { accept: acceptList(accept) });
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** The gate of a message; what it says where there is nothing to run. `undefined` where the application keeps no claims. */
async function openGate(
  { app, hands, leaseMs }: RunOneParts,
  task: TaskMessage,
  held: Held,
): Promise<Gate | RunOneEnd | undefined> {
  const { results } = await app.connections();
  if (!results.backend?.limits || !results.backend.joins) {
    app.logger.warn(
      {},
      'the result backend keeps no claims: only the visibility of the message keeps it from being run twice',
    );
    return undefined;
  }
  const jobs = new Jobs(results);
  const id = jobId(task);
  const holder = derivedId(held.taken.tag.id, held.taken.tag.handle);
  const answer = await jobs.claim(id, holder, leaseMs);
  if (!answer.granted) {
    const reason = answer.done ? finished : `already running (${answer.holder}): skipped`;
    app.logger.warn({ job: id }, reason);
    // Back when the other one should have ended, or has died.
    const waitMs = answer.waitMs + 1_000;
    if (answer.done) await endMessage(hands, results, held);
    else throwFirst(await hands.settling.hide(held.taken.queue, [held], () => waitMs));
    return { kind: 'skipped', reason };
  }
  return {
    tag: { key: claimKey(id), holder },
    renew: async () => {
      await jobs.claim(id, holder, leaseMs);
    },
    finish: () => jobs.finish(id, holder),
    release: () => jobs.release(id, holder),
  };
}

/** A body that is none is still a delivery: the worker says why it goes to the dead letters. */
function deliveryFor(held: Held, body: string): Delivery {
  const { taken, name } = held;
  try {
    return deliveryOf(taken, name, body);
  } catch {
    return { queue: name, message: readableBody(body), tag: taken.tag, attempt: taken.attempt };
  }
}
