import type { LovageApp } from '../../app/app.ts';
import type { Broker } from '../../contracts/broker.ts';
import { ConfigError } from '../../errors.ts';
import { sibling } from '../../util/sibling.ts';
import { decodeTask } from '../../wire/protocol.ts';
import { acceptList } from '../../wire/serializers.ts';
import { firstConnection } from '../../worker/life/first-connection.ts';
import { nodeName } from '../../worker/node-name.ts';
import type { WorkerOptions } from '../../worker/setup.ts';
import { Worker } from '../../worker/worker.ts';
import { ClaimErrand } from './claim-errand.ts';
import { type Errand, ErrandBroker, ErrandConsumer, type ErrandEnd } from './errand.ts';
import { jobEnv } from './job-env.ts';
import { jobMessage } from './job-message.ts';
import { renewJobs } from './job-renewer.ts';
import { type EcsJob, holderOf, Jobs } from './jobs.ts';
import { openReceipt } from './receipt-errand.ts';
import { settleUnrun } from './settle.ts';
import { openHands, type SqsHands } from './sqs-hands.ts';
import { tellState } from './tell-state.ts';

/** Options of a worker that also make sense for one message. */
export type RunOneOptions = Pick<
  WorkerOptions,
  | 'pool'
  | 'appFile'
  | 'timeLimit'
  | 'softTimeLimit'
  | 'maxMemoryPerChild'
  | 'shutdownTimeout'
  | 'softShutdownTimeout'
  | 'name'
>;

/** How the run of one message ended. */
export type RunOneEnd =
  /** It ran, and its message or job is over. */
  | { readonly kind: 'done' }
  /** It was given back, and will run again. */
  | { readonly kind: 'back' }
  /** There was nothing to do; `reason` says why. */
  | { readonly kind: 'skipped'; readonly reason: string };

/** An errand that may be run, with what the worker needs of it. */
export interface Runnable {
  readonly errand: Errand;
  readonly renewer: Parameters<ErrandBroker['hand']>[1];
  readonly recipe: Parameters<ErrandBroker['hand']>[2];
}

/** What both kinds of errands are opened with. */
export interface RunOneParts {
  readonly app: LovageApp;
  readonly hands: SqsHands;
  /** The broker itself, not what stands in front of it. */
  readonly real: Broker;
  readonly hostname: string;
  readonly leaseMs: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Runs the one message that a dispatcher handed to this container, by a whole worker: with its limits, time limits, hooks,
 * renewal of the lease and shutdown. Takes nothing else from any queue. Skips what others run or have run.
 * @throws ConfigError where the environment names no message
 */
export async function runOne(app: LovageApp, options: RunOneOptions, environment: Environment): Promise<RunOneEnd> {
  const open = opener(environment);
  const hands = await openHands(app.config);
  const { leaseMs } = hands.queues.location;
  let front: { readonly real: Broker; readonly broker: ErrandBroker } | undefined;
  app.frontBroker((real) => {
    front = { real, broker: new ErrandBroker(real, leaseMs) };
    return front.broker;
  });
  try {
    await firstConnection(app, []);
    const hostname = nodeName(options.name ?? 'ecs@%h');
    const { real, broker } = fronted(front);
    const found = await open({ app, hands, real, hostname, leaseMs });
    if ('kind' in found) return found;
    const consumer = new ErrandConsumer(found.errand, leaseMs);
    broker.hand(consumer, found.renewer, found.recipe);
    return await work(app, consumer, { ...options, queues: [found.errand.delivery.queue] });
  } finally {
    await hands.close();
  }
}

/** It is there once the application is connected; the compiler cannot see that. */
function fronted<T>(front: T | undefined): T {
  if (front !== undefined) return front;
  throw new ConfigError('the application was connected before run-one: give run-one an application of its own');
}

/** Runs a worker until the errand has ended. */
async function work(app: LovageApp, consumer: ErrandConsumer, options: WorkerOptions): Promise<RunOneEnd> {
  const worker = new Worker(app, { ...options, name: options.name ?? 'ecs@%h', concurrency: 1, prefetchMultiplier: 1 });
  let end: ErrandEnd | undefined;
  const ended = consumer.ended.then(async (how) => {
    end = how;
    await worker.stop();
  });
  await worker.run();
  if (end !== undefined) await ended;
  return { kind: end === 'ack' || end === 'reject' ? 'done' : 'back' };
}

type Opener = (parts: RunOneParts) => Promise<Runnable | RunOneEnd>;

function opener(environment: Environment): Opener {
  const {
    [jobEnv.job]: job,
    [jobEnv.start]: start = '0',
    [jobEnv.receipt]: receipt,
    [jobEnv.message]: body,
  } = environment;
  if (job) {
    if (!/^\d{1,9}$/.test(start)) throw new ConfigError(`${jobEnv.start}: expected a whole number, got '${start}'`);
    return (parts) => openJob(parts, job, Number(start));
  }
  if (receipt && body !== undefined) return (parts) => openReceipt(parts, receipt, body);
  throw new ConfigError(
    `run-one runs the message that a dispatcher names in the environment of its container, and found none: expected ${jobEnv.job}, or ${jobEnv.receipt} and ${jobEnv.message}. Start it with ecsDispatcher, or say --job`,
  );
}

/** Fetches a job, and passes the gate: it is run by one ECS task at a time, and never again once it has ended. */
async function openJob(
  { app, hands, hostname, leaseMs }: RunOneParts,
  id: string,
  start: number,
): Promise<Runnable | RunOneEnd> {
  const { broker, results } = await app.connections();
  const jobs = new Jobs(results);
  const before = await jobs.fetch(id);
  const holder = holderOf({ id, start, origin: before?.origin ?? '' });
  const answer = await jobs.claim(id, holder, leaseMs);
  if (!answer.granted) {
    return answer.done
      ? skip(app, id, 'already finished: skipped')
      : skip(app, id, `already running (${answer.holder}): skipped`);
  }
  // After the claim: from now on nobody else writes it.
  const known = await jobs.fetch(id);
  if (!known || holderOf(known) !== holder || (known.state !== 'starting' && known.state !== 'running')) {
    await jobs.release(id, holder);
    return skip(app, id, known ? 'another ECS task has this job: skipped' : 'no such record: nothing to run');
  }
  // Before it counts as a run: the store for large payloads may be in trouble.
  const { message, lost } = await jobMessage(known, hands);
  // A container that is restarted in its ECS task finds its own run.
  const job: EcsJob = { ...known, state: 'running', attempts: known.attempts + 1, failedStarts: 0 };
  await jobs.save(job);
  const errand = new ClaimErrand({ jobs, hands, broker, results, leaseMs }, job, { holder, message });
  if (lost) {
    app.logger.error({ job: id, error: lost }, 'the body of a job is lost: it fails');
    await settleUnrun(app, errand, { kind: 'dead', error: lost }, leaseMs);
    return { kind: 'done' };
  }
  const task = await decodeTask(message, { accept: acceptList(app.config.acceptContent) }).catch(() => undefined);
  if (task) await tellState(results, task, 'RUNNING', { hostname, attempt: job.attempts, start });
  const { recipe, limits } = jobs.backend;
  const module = sibling(import.meta.url, 'job-renewer').href;
  return {
    errand,
    renewer: {
      extendMany: async (leases, ms) => (limits ? renewJobs(limits, leases, ms) : []),
    },
    recipe: recipe && { module, factory: 'jobRenewer', args: [recipe] },
  };
}

function skip(app: LovageApp, job: string, reason: string): RunOneEnd {
  app.logger.warn({ job }, reason);
  return { kind: 'skipped', reason };
}
