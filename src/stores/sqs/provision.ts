import type { Permission, Role, SetupStep, StoreNeeds, StoreSetup } from '../../contracts/setup.ts';
import { ConfigError } from '../../errors.ts';
import { partitionOf } from '../aws/partition.ts';
import { openSqs, type SqsApi, type SqsQueue } from './api.ts';
import { deadName, isFifoName, sqsName, stepName } from './names.ts';
import { targetOf } from './queues.ts';
import { creationAttributes, sqsActions } from './setup.ts';
import type { SqsLocation } from './url.ts';

/**
 * SQS moves a message to the dead letters by itself after so many receives. Our workers do it first, and say why: this is
 * for messages that no worker lives long enough to give up. On a FIFO queue a parked message is received now and then.
 */
const MAX_RECEIVES = { standard: 20, fifo: 1000 };

/** Attributes that cannot be changed. */
const FIXED = new Set(['FifoQueue']);

/** What a broker needs of SQS: its queues, and one for the dead letters of each. `payloads`: what its large bodies need. */
export function sqsSetup(location: SqsLocation, payloads: StoreSetup | undefined): StoreSetup {
  return {
    plan: (needs) =>
      withSqs(location, async (api) => {
        const steps: SetupStep[] = [];
        for (const names of namesOf(location, needs))
          steps.push(...(await queueSteps(location, { api, names, needs })));
        return [...steps, ...((await payloads?.plan(needs)) ?? [])];
      }),
    async permissions(role, needs) {
      const own = await permissions(location, role, needs);
      return [...own, ...((await payloads?.permissions(role, needs)) ?? [])];
    },
  };
}

/** A client for as long as `use` takes. */
async function withSqs<T>(location: SqsLocation, use: (api: SqsApi) => Promise<T>): Promise<T> {
  const api = await openSqs(location.address, location.url);
  try {
    return await use(api);
  } finally {
    api.close();
  }
}

/** A queue of the application: what it is in SQS. */
export interface QueueNames {
  /** One name for each step of priority; the first is the queue itself. */
  readonly steps: readonly [string, ...string[]];
  /** For its dead letters, unless its redrive policy names another. */
  readonly dead: string;
}

/** The names in SQS of the queues that an application needs. */
export function namesOf(location: SqsLocation, { queues }: Pick<StoreNeeds, 'queues'>): QueueNames[] {
  const { predefined } = location;
  const { prioritySteps = [0] } = location.options;
  const names = predefined
    ? [...predefined.values()].map(({ url }): [string] => [url.slice(url.lastIndexOf('/') + 1)])
    : queues.map((queue): [string, ...string[]] => {
        const others = prioritySteps.slice(1).map((step) => sqsName(stepName(queue, step), location));
        return [sqsName(queue, location), ...others];
      });
  return names.map((steps) => ({ steps, dead: deadName(steps[0]) }));
}

interface Wanted {
  readonly api: SqsApi;
  readonly names: QueueNames;
  readonly needs: StoreNeeds;
}

/** After how many receives SQS moves a message itself. `dead`: the name in SQS of the dead letters. */
export function maxReceivesOf(dead: string, { maxDeliveries }: Pick<StoreNeeds, 'maxDeliveries'>): number {
  return isFifoName(dead) ? MAX_RECEIVES.fifo : Math.max(MAX_RECEIVES.standard, 4 * maxDeliveries);
}

/** The dead letters first: the queues name them. */
async function queueSteps(location: SqsLocation, { api, names, needs }: Wanted): Promise<SetupStep[]> {
  const found = await Promise.all(names.steps.map((name) => find(api, name)));
  const targets = found.map((one) => targetOf(one?.attributes.RedrivePolicy));
  const dead = targets[0] === undefined ? names.dead : targets[0].slice(targets[0].lastIndexOf(':') + 1);
  const maxReceives = maxReceivesOf(dead, needs);
  const steps = names.steps.map((name, i) =>
    attributeStep(location, {
      kind: 'queue',
      name,
      found: found[i],
      wanted: creationAttributes(location, name),
      // A policy that somebody has chosen stays.
      ...(targets[i] === undefined && { redrive: { dead, maxReceives } }),
    }),
  );
  const own = {
    kind: 'dead-letter queue',
    name: dead,
    found: await find(api, dead),
    wanted: creationAttributes(location, dead),
  };
  return [attributeStep(location, own), ...steps];
}

interface Found {
  readonly queue: SqsQueue;
  readonly attributes: Readonly<Record<string, string>>;
}

async function find(api: SqsApi, name: string): Promise<Found | undefined> {
  const url = await api.queueUrl(name);
  if (url === undefined) return undefined;
  const queue = { name, url, isFifo: isFifoName(name), api };
  return { queue, attributes: await api.attributes(queue) };
}

interface QueuePlan {
  readonly kind: string;
  readonly name: string;
  readonly found: Found | undefined;
  readonly wanted: Readonly<Record<string, string>>;
  readonly redrive?: { readonly dead: string; readonly maxReceives: number };
}

function attributeStep(location: SqsLocation, plan: QueuePlan): SetupStep {
  const { kind, name, found, wanted, redrive } = plan;
  const policy = redrive && `dead letters to ${redrive.dead} after ${redrive.maxReceives} receives`;
  if (!found) {
    const details = [...Object.entries(wanted).map(([key, value]) => shown(key, value)), ...(policy ? [policy] : [])];
    return { kind, name, state: 'missing', details, apply: () => apply(location, plan, wanted) };
  }
  const changed = Object.entries(wanted).filter(
    ([key, value]) => !FIXED.has(key) && !isSame(found.attributes[key], value),
  );
  if (changed.length === 0 && !policy) return { kind, name, state: 'exists', details: [] };
  const details = changed.map(([key, value]) => `${shown(key, found.attributes[key] ?? 'none')} -> ${value}`);
  return {
    kind,
    name,
    state: 'differs',
    details: [...details, ...(policy ? [policy] : [])],
    apply: () => apply(location, plan, Object.fromEntries(changed)),
  };
}

/** Creates a queue where there is none by now, then sets what it does not have. */
async function apply(
  location: SqsLocation,
  { name, redrive }: QueuePlan,
  attributes: Readonly<Record<string, string>>,
): Promise<void> {
  await withSqs(location, async (api) => {
    const before = await find(api, name);
    const url = before?.queue.url ?? (await api.createQueue(name, attributes));
    const queue = before?.queue ?? { name, url, isFifo: isFifoName(name), api };
    const dead = redrive && (await find(api, redrive.dead));
    const policy = dead && {
      RedrivePolicy: JSON.stringify({
        deadLetterTargetArn: dead.attributes.QueueArn,
        maxReceiveCount: redrive.maxReceives,
      }),
    };
    const missing = { ...(before && attributes), ...policy };
    if (Object.keys(missing).length > 0) await api.setAttributes(queue, missing);
  });
}

async function permissions(location: SqsLocation, role: Role, needs: StoreNeeds): Promise<Permission[]> {
  const names = namesOf(location, needs);
  return withSqs(location, async (api) => {
    const { region } = api;
    const account =
      needs.account ??
      predefinedAccount(location) ??
      (await accountOf(
        api,
        names.flatMap((one) => one.steps),
        location.url,
      ));
    const arn = (name: string) => `arn:${partitionOf(region)}:sqs:${region}:${account}:${name}`;
    const { queues, dead } = sqsActions[role];
    const allowed = names.flatMap((one) => [
      ...one.steps.flatMap((name) => queues.map((action): Permission => ({ action, resource: arn(name) }))),
      ...dead.map((action): Permission => ({ action, resource: arn(one.dead) })),
    ]);
    return [...allowed, ...keyPermissions(location, role)];
  });
}

function predefinedAccount({ predefined }: SqsLocation): string | undefined {
  const [first] = predefined?.values() ?? [];
  return first && /\/(\d{12})\/[^/]+$/.exec(first.url)?.[1];
}

/** From the URL of a queue that is there. */
async function accountOf(api: SqsApi, names: readonly string[], url: string): Promise<string> {
  let trouble: unknown;
  for (const name of names) {
    try {
      const account = /\/(\d{12})\/[^/]+$/.exec((await api.queueUrl(name)) ?? '')?.[1];
      if (account !== undefined) return account;
    } catch (error) {
      trouble = error;
    }
  }
  throw new ConfigError(
    `${url}: which account its queues belong to is not known, as none of them could be found: say it with --account`,
    { cause: trouble },
  );
}

/** Queues that are encrypted with a key of one's own need that key, too. */
export function keyPermissions({ options }: SqsLocation, role: Role): Permission[] {
  const key = options.sqsCreationAttributes?.KmsMasterKeyId;
  if (typeof key !== 'string' || key === 'alias/aws/sqs' || role === 'setup') return [];
  if (!key.startsWith('arn:')) {
    throw new ConfigError(
      `sqsCreationAttributes.KmsMasterKeyId: policies name keys by their ARN, got '${key}': write arn:aws:kms:...:key/...`,
    );
  }
  return ['kms:GenerateDataKey', 'kms:Decrypt'].map((action) => ({ action, resource: key }));
}

/** JSON attributes come back with other spaces. */
function isSame(is: string | undefined, wanted: string): boolean {
  if (is === wanted) return true;
  try {
    return JSON.stringify(JSON.parse(is ?? '')) === JSON.stringify(JSON.parse(wanted));
  } catch {
    return false;
  }
}

function shown(attribute: string, value: string): string {
  const words = attribute.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return `${words} ${value}${/Timeout|Period|Seconds/.test(attribute) && value !== 'none' ? ' s' : ''}`;
}
