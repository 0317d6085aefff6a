import type { Check, Diagnosis, Usage } from '../../contracts/diagnosis.ts';
import type { StoreNeeds } from '../../contracts/setup.ts';
import { StoreAccessError } from '../../errors.ts';
import { loadPeer } from '../../util/load-peer.ts';
import { awsClientConfig, openAwsClient } from '../aws/client.ts';
import { clockCheck, serviceClock } from '../aws/clock.ts';
import { permissionChecks } from '../aws/refusals.ts';
import { HOW_TO_CREATE, SqsApi, type SqsQueue } from './api.ts';
import { POLLS_PER_MINUTE } from './line.ts';
import { CEILING_MS } from './messages.ts';
import { isFifoName } from './names.ts';
import type { SqsPayloads } from './payloads.ts';
import { namesOf } from './provision.ts';
import { targetOf } from './queues.ts';
import { MAX_RETENTION } from './setup.ts';
import type { SqsLocation } from './url.ts';

const MIB = 1_048_576;

/** For `lovage doctor`: whether the queues are there and as they should be, what is allowed, and what a task costs. */
export async function diagnoseSqs(
  location: SqsLocation,
  needs: StoreNeeds,
  payloads: SqsPayloads | undefined,
): Promise<Diagnosis> {
  const sdk = await loadPeer('@aws-sdk/client-sqs', 'sqs:// URLs', () => import('@aws-sdk/client-sqs'));
  const client = new sdk.SQSClient(awsClientConfig(location.address));
  const clock = serviceClock(client);
  try {
    const region = await openAwsClient(client, location.address, location.url);
    const api = new SqsApi(sdk, client, location.url, region);
    const checks: Check[] = [{ what: 'credentials', verdict: 'ok', found: `found, for region ${region}` }];
    for (const { steps, dead } of namesOf(location, needs)) {
      for (const name of steps) checks.push(...(await queueChecks(api, { name, dead }, { location, needs })));
    }
    checks.push(limitCheck(needs), clockCheck(clock), ...((await payloads?.diagnose(needs)) ?? []));
    return { checks, usage: usageOf(location, needs) };
  } finally {
    client.destroy();
  }
}

async function queueChecks(
  api: SqsApi,
  { name, dead }: { name: string; dead: string },
  { location, needs }: { location: SqsLocation; needs: StoreNeeds },
): Promise<Check[]> {
  const what = `queue ${name}`;
  try {
    const url = await api.queueUrl(name);
    if (url === undefined) return [{ what, verdict: 'problem', found: 'not there', advice: HOW_TO_CREATE }];
    const queue = { name, url, isFifo: isFifoName(name), api };
    const attributes = await api.attributes(queue);
    return [
      { what, verdict: 'ok', found: 'there' },
      visibilityCheck(what, attributes, location),
      retentionCheck(what, attributes),
      ...(await deadChecks(api, { what, own: dead, attributes, needs })),
      ...sizeChecks(what, attributes),
      ...(await permissionChecks(what, queueTries(queue))),
    ];
  } catch (error) {
    if (!(error instanceof StoreAccessError)) throw error;
    return [{ what, verdict: 'problem', found: error.message }];
  }
}

type Attributes = Readonly<Record<string, string>>;

/** Our workers say with each receive how long a lease is; others take what the queue says. */
function visibilityCheck(
  queue: string,
  { VisibilityTimeout: own = '30' }: Attributes,
  { leaseMs }: SqsLocation,
): Check {
  const what = `${queue}: visibility timeout`;
  const wanted = leaseMs / 1000;
  if (Number(own) === wanted) return { what, verdict: 'ok', found: `${own} s, renewed while a task runs` };
  return {
    what,
    verdict: 'note',
    found: `${wanted} s, renewed while a task runs; the queue itself says ${own} s, which Celery's workers go by`,
  };
}

function retentionCheck(queue: string, { MessageRetentionPeriod: own = '345600' }: Attributes): Check {
  const what = `${queue}: retention`;
  const found = `${Number(own) / 86_400} days`;
  if (Number(own) >= MAX_RETENTION) return { what, verdict: 'ok', found };
  return { what, verdict: 'warning', found, advice: 'what waits longer is lost: lovage setup makes it 14 days' };
}

interface DeadLook {
  readonly what: string;
  /** Where they go without a redrive policy. */
  readonly own: string;
  readonly attributes: Attributes;
  readonly needs: StoreNeeds;
}

async function deadChecks(api: SqsApi, { what, own: ours, attributes, needs }: DeadLook): Promise<Check[]> {
  const target = targetOf(attributes.RedrivePolicy);
  const dead = target === undefined ? ours : target.slice(target.lastIndexOf(':') + 1);
  const url = await api.queueUrl(dead, target?.split(':')[4]);
  const about = `${what}: dead letters`;
  if (url === undefined) {
    return [{ what: about, verdict: 'problem', found: `queue ${dead} is not there`, advice: HOW_TO_CREATE }];
  }
  const queue = { name: dead, url, isFifo: isFifoName(dead), api };
  const own = await api.attributes(queue);
  const retention = Number(own.MessageRetentionPeriod ?? 345_600);
  const days = `${dead}, kept ${retention / 86_400} days`;
  const checks: Check[] = [
    retention >= MAX_RETENTION
      ? { what: about, verdict: 'ok', found: days }
      : {
          what: about,
          verdict: 'warning',
          found: days,
          advice: 'counted from the first sending: lovage setup makes it 14',
        },
    ...(await permissionChecks(about, sendTry(queue))),
  ];
  if (target === undefined) return [...checks, NO_REDRIVE(about)];
  const receives = Number(JSON.parse(attributes.RedrivePolicy ?? '{}').maxReceiveCount);
  if (receives >= needs.maxDeliveries) return checks;
  return [
    ...checks,
    {
      what: `${what}: redrive policy`,
      verdict: 'warning',
      found: `moves messages after ${receives} receives, before taskMaxDeliveries (${needs.maxDeliveries}) says why`,
      advice: `raise maxReceiveCount above ${needs.maxDeliveries}`,
    },
  ];
}

const NO_REDRIVE = (what: string): Check => ({
  what: `${what}, redrive policy`,
  verdict: 'note',
  found: 'none: workers alone move messages there; lovage setup adds one',
});

function sizeChecks(queue: string, { MaximumMessageSize: size }: Attributes): Check[] {
  if (size === undefined || Number(size) >= MIB) return [];
  const found = `${Number(size) / 1024} KB, of 1024 that SQS allows`;
  return [{ what: `${queue}: largest message`, verdict: 'note', found }];
}

/** What a worker does to a queue, with nothing in it: SQS refuses that, or before that what is not allowed. */
function queueTries(queue: SqsQueue) {
  const { api } = queue;
  const nothing = 'lovage-doctor';
  return {
    receive: () => api.receive(queue, { max: 0, waitSeconds: 0, leaseSeconds: 0 }),
    delete: () => api.deleteMany(queue, [nothing]),
    'change visibility': () => api.hideMany(queue, [{ handle: nothing, seconds: 0 }]),
    ...sendTry(queue),
  };
}

function sendTry(queue: SqsQueue) {
  // A character that SQS does not take.
  return { send: () => queue.api.sendMany(queue, [{ MessageBody: '\u0000' }]) };
}

function limitCheck({ timeLimitMs }: StoreNeeds): Check {
  const what = 'time limits';
  if (timeLimitMs === undefined) {
    return {
      what,
      verdict: 'note',
      found: 'none: a task that runs for 12 hours is begun again, as SQS leases no longer',
    };
  }
  const found = `${timeLimitMs / 1000} s at most`;
  if (timeLimitMs < CEILING_MS) return { what, verdict: 'ok', found };
  return { what, verdict: 'warning', found, advice: 'SQS leases for 12 hours at most: lower it, or save checkpoints' };
}

/** One message takes a request to send, to receive and to delete it; a full batch shares them among ten. A worker without work asks its queues for messages, and now and then how many there are. */
function usageOf(location: SqsLocation, needs: StoreNeeds): Usage[] {
  const { isFifo, options, waitMs, idleMs, hopMs } = location;
  const queues = namesOf(location, needs).flatMap(({ steps }) => steps).length;
  // As the lines of a consumer pause.
  const pauseMs = queues === 1 ? 0 : Math.min(idleMs, Math.max(0, (queues * 60_000) / POLLS_PER_MINUTE - waitMs));
  const everyMs = Math.max(waitMs + pauseMs, 1000);
  const use = {
    perTask: 3,
    perTaskBusy: 0.3,
    perParkedTask: isFifo ? 1 : 3 * Math.floor(3600_000 / hopMs),
    perIdleWorkerHour: queues * (3600_000 / everyMs + (needs.countEveryMs ? 3600_000 / needs.countEveryMs : 0)),
  };
  const what = 'requests to SQS (a parked task: for an hour)';
  return [
    { price: isFifo ? 'sqs.fifo' : 'sqs.standard', what, ...use },
    ...(options.fairQueues && !isFifo
      ? [{ price: 'sqs.fair', what: 'surcharge for groups', perTask: 3, perTaskBusy: 0.3 }]
      : []),
  ];
}
