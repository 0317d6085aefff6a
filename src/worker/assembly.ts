import type { LovageApp } from '../app/app.ts';
import type { Broker } from '../contracts/broker.ts';
import { listenForControl } from '../control/responder.ts';
import { Gates } from './gates/gates.ts';
import { claimsFor, needsClaims } from './gates/setup.ts';
import { LeaseKeeper } from './leases/lease-keeper.ts';
import { firstConnection } from './life/first-connection.ts';
import type { Ending } from './life/shutdown.ts';
import type { WorkerEvent } from './life/worker-state.ts';
import { LoopWatch } from './loop/loop-watch.ts';
import { Autoscaler } from './running/autoscaler.ts';
import { Dispatcher } from './running/dispatcher.ts';
import { Executor } from './running/executor.ts';
import { Lanes } from './running/lanes.ts';
import { TaskLog, type WorkerCounts } from './running/task-log.ts';
import { Settler } from './settling/settler.ts';
import { checkLimitsOfTasks, type WorkerSetup } from './setup.ts';
import { Fetcher } from './taking/fetcher.ts';
import { Intake } from './taking/intake.ts';
import { RenewableConsumer } from './taking/renewable-consumer.ts';
import { Revocations } from './taking/revocations.ts';
import { Watchdog } from './taking/watchdog.ts';

/** What the parts of a worker are made from. */
export interface AssemblyNeeds {
  readonly app: LovageApp;
  readonly setup: WorkerSetup;
  readonly counts: WorkerCounts;
  /** Tells the worker what happens to it. */
  happen(event: WorkerEvent): void;
  /** Gives up waiting for a connection. */
  readonly signal: AbortSignal;
}

/** The parts of a worker that run, all but its lifecycle. */
export interface Assembly extends Omit<Ending, 'lifecycle'> {
  readonly broker: Broker;
}

/**
 * Opens connections, starts threads and processes, and puts the parts of a worker together; nothing is fetched yet. What
 * was done is undone where a later step fails.
 */
export async function assemble(needs: AssemblyNeeds): Promise<Assembly> {
  const { app, setup, counts, happen, signal } = needs;
  const { hostname, queues } = setup;
  const { logger } = app;
  checkLimitsOfTasks(app, setup);
  const { workerBlockWarning } = app.config;
  const loopWatch =
    workerBlockWarning > 0 ? new LoopWatch({ hostname, limitMs: workerBlockWarning * 1000, logger }) : undefined;
  const lanes = new Lanes({
    app,
    executor: new Executor(app, hostname),
    setup,
    loopWatch,
    onOutcomes: (outcomes) => dispatcher.ended(outcomes),
    onRoom: () => dispatcher.wake(),
  });
  const { broker, publisher, results } = await firstConnection(app, queues, signal);
  const { leaseMs } = broker.features;
  const leases = new LeaseKeeper({
    broker,
    leaseMs,
    logger,
    onLost: (delivery, error) => {
      logger.warn({ queue: delivery.queue, error }, 'the lease of a held message was lost: its task is asked to stop');
      dispatcher.leaseLost(delivery, error);
    },
  });
  await leases.start();
  const claims = claimsFor(app, results, leaseMs ?? 30_000, (delivery, error) => {
    logger.warn({ queue: delivery.queue, error }, 'a claim was lost: its task is asked to stop');
    dispatcher.claimLost(delivery, error);
  });
  const endLeases = async () => {
    await leases.stop();
    await claims?.stop();
  };
  if (claims && needsClaims(app)) await orElse(claims.start(), endLeases);
  const first = await orElse(broker.consume(queues), endLeases);
  const consumer = new RenewableConsumer(first, () => broker.consume(queues));
  const settler = new Settler({
    app,
    consumer,
    publisher,
    results,
    leases,
    claims,
    hostname,
    patienceMs: leaseMs ?? 30_000,
    onSettled: () => dispatcher.wake(),
  });
  const gates = new Gates({ app, results, claims, hostname, onDue: (sorted) => dispatcher.enter(sorted) });
  const revocations = new Revocations({
    results,
    everyMs: (leaseMs ?? 30_000) / 3,
    held: (sinceMs) => dispatcher.heldTasks(sinceMs),
    revoke: (revoked) => dispatcher.revoke(revoked),
    logger,
  });
  const dispatcher = new Dispatcher(
    {
      app,
      intake: new Intake(app, results, gates, revocations),
      gates,
      lanes,
      settler,
      leases,
      log: new TaskLog(app, counts),
    },
    setup.prefetchMultiplier,
  );
  const fetcher = new Fetcher({
    consumer,
    room: () => dispatcher.room(),
    hasRoom: (signal) => dispatcher.hasRoom(signal),
    onDeliveries: (deliveries) => {
      counts.received += deliveries.length;
      return dispatcher.take(deliveries);
    },
    ask: () => broker.countMany(queues, { readyOnly: true }),
    onLost: (error) => happen({ kind: 'lost', error }),
    onBack: () => happen({ kind: 'back' }),
  });
  const listening = broker.bus ? listenForControl(broker.bus, hostname, revocations) : Promise.resolve(async () => {});
  const undo = async () => {
    await endLeases();
    await consumer.close();
  };
  await orElse(lanes.start(), async () => {
    await undo();
    await (await listening)();
  });
  const stopControl = await orElse(listening, async () => {
    await lanes.stop();
    await undo();
  });
  if (lanes.onLoop) loopWatch?.start();
  return {
    broker,
    loopWatch,
    dispatcher,
    lanes,
    settler,
    leases,
    claims,
    revocations,
    consumer,
    fetcher,
    watchdog: watchdog(needs, broker, fetcher, consumer),
    autoscaler: autoscaler(needs, lanes, dispatcher, broker),
    stopControl,
  };
}

function watchdog(
  { app, setup, happen }: AssemblyNeeds,
  broker: Broker,
  fetcher: Fetcher,
  consumer: RenewableConsumer,
): Watchdog | undefined {
  const { workerWatchdog } = app.config;
  if (workerWatchdog === 0) return undefined;
  return new Watchdog({
    broker,
    queues: setup.queues,
    fetcher,
    intervalMs: workerWatchdog * 1000,
    rebuild: () => consumer.renew(),
    onStuck: (error) => happen({ kind: 'stuck', error }),
    logger: app.logger,
  });
}

function autoscaler(
  { app, setup }: AssemblyNeeds,
  lanes: Lanes,
  dispatcher: Dispatcher,
  broker: Broker,
): Autoscaler | undefined {
  if (!setup.autoscale) return undefined;
  const { workerAutoscaleKeepalive, workerAutoscaleMaxMemory } = app.config;
  return new Autoscaler({
    hostname: setup.hostname,
    range: setup.autoscale,
    keepAliveMs: workerAutoscaleKeepalive * 1000,
    maxBytes: workerAutoscaleMaxMemory === undefined ? undefined : workerAutoscaleMaxMemory * 1024,
    pool: lanes.main,
    held: () => dispatcher.waiting,
    async ask() {
      const depths = await broker.countMany(setup.queues, { readyOnly: true });
      return depths.reduce((sum, depth) => sum + (depth?.ready ?? 0), 0);
    },
    resize(slots) {
      lanes.main.resize(slots);
      dispatcher.resized();
    },
    logger: app.logger,
  });
}

/** Undoes what was done before where the next step fails. */
async function orElse<T>(step: Promise<T>, undo: () => Promise<void>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    await undo().catch(() => {});
    throw error;
  }
}
