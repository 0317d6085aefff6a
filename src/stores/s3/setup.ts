import type { Check, Diagnosis } from '../../contracts/diagnosis.ts';
import type { Permission, Role, SetupStep, StoreNeeds, StoreSetup } from '../../contracts/setup.ts';
import { ConfigError } from '../../errors.ts';
import { clockCheck, serviceClock } from '../aws/clock.ts';
import { awsError, awsErrorName } from '../aws/errors.ts';
import { permissionChecks } from '../aws/refusals.ts';
import { bucketArn, openBucket, openS3 } from './bucket.ts';
import type { S3Location } from './url.ts';

/** Actions that policies must allow, by who needs them: on the bucket itself, and on the objects below the base path. */
export const s3Actions: Readonly<
  Record<Role, { readonly bucket: readonly string[]; readonly objects: readonly string[] }>
> = {
  // Without s3:ListBucket the answer for an object that is not there is AccessDenied.
  producer: { bucket: ['s3:ListBucket'], objects: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'] },
  worker: { bucket: ['s3:ListBucket'], objects: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'] },
  setup: {
    bucket: ['s3:CreateBucket', 's3:ListBucket', 's3:GetLifecycleConfiguration', 's3:PutLifecycleConfiguration'],
    objects: ['s3:PutObject', 's3:DeleteObject'],
  },
};

const DAY_MS = 24 * 3600 * 1000;

type Rule = import('@aws-sdk/client-s3').LifecycleRule;

/** What a store needs of S3: its bucket, and a rule that removes old objects. */
export function s3Setup(location: S3Location): StoreSetup {
  return {
    plan: (needs) =>
      withAdmin(location, async (admin) => [await bucketStep(admin), ...(await ruleSteps(admin, needs))]),
    async permissions(role) {
      const { bucket, basePath, address } = location;
      const region = address.region ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION;
      const { bucket: onBucket, objects } = s3Actions[role];
      return [
        ...onBucket.map((action): Permission => ({ action, resource: bucketArn(bucket, undefined, region) })),
        ...objects.map((action): Permission => ({ action, resource: bucketArn(bucket, `${basePath}*`, region) })),
      ];
    },
  };
}

/** For `lovage doctor`: whether the bucket can be used, and what a task costs. */
export function diagnoseS3(location: S3Location, needs: StoreNeeds): Promise<Diagnosis> {
  return withAdmin(location, async (admin) => {
    const what = `bucket ${location.bucket}`;
    const usage = [
      { price: 's3.put', what: 'stored results', perTask: 1 },
      {
        price: 's3.get',
        what: 'looks whether a task was revoked, and for its result where somebody waits',
        perTask: 3,
      },
    ];
    if (!(await admin.hasBucket())) {
      const missing: Check = { what, verdict: 'problem', found: 'not there', advice: 'lovage setup creates it' };
      return { checks: [missing], usage };
    }
    const removals = (await ruleSteps(admin, needs)).map((rule): Check => {
      const removal = `${what}: lifecycle rule '${rule.name}'`;
      if (rule.state === 'exists') return { what: removal, verdict: 'ok', found: 'there' };
      const found = rule.state === 'missing' ? 'not there' : rule.details.join(', ');
      const advice = 'without it old results are paid for, for ever: lovage setup makes it';
      return { what: removal, verdict: 'warning', found, advice };
    });
    const allowed = await useChecks(location, what);
    return {
      checks: [{ what, verdict: 'ok', found: 'there' }, ...removals, ...allowed, clockCheck(admin.clock)],
      usage,
    };
  });
}

/** What workers and senders do to a bucket, with an object that is not there. Not removing it: where versions are kept, that leaves a mark. */
async function useChecks(location: S3Location, what: string): Promise<Check[]> {
  const bucket = await openBucket(location);
  const key = `${location.basePath}lovage-doctor`;
  let ignores = false;
  const tries = {
    get: () => bucket.get(key),
    list: () => bucket.list(key, ''),
    async put() {
      ignores = (await bucket.put({ key, data: Buffer.of() }, { etag: '"none"' })) !== undefined;
    },
  };
  try {
    const checks = await permissionChecks(what, tries);
    if (!ignores) return checks;
    await bucket.removeMany([key]);
    const found = 'writes although the condition of a write does not hold';
    return [...checks, { what: `${what}: conditions`, verdict: 'problem', found, advice: 'use S3 itself' }];
  } finally {
    bucket.close();
  }
}

type Opened = Awaited<ReturnType<typeof openS3>>;

/** What is done to a bucket as a whole. */
class S3Admin {
  readonly location: S3Location;
  readonly clock: ReturnType<typeof serviceClock>;
  readonly #opened: Opened;

  constructor(location: S3Location, opened: Opened) {
    this.location = location;
    this.clock = serviceClock(opened.client);
    this.#opened = opened;
  }

  async hasBucket(): Promise<boolean> {
    const { sdk, client } = this.#opened;
    const command = new sdk.HeadBucketCommand({ Bucket: this.location.bucket });
    try {
      await this.#send('s3:ListBucket', () => client.send(command));
      return true;
    } catch (error) {
      if (/^(NotFound|NoSuchBucket)$/.test(causeOf(error))) return false;
      throw error;
    }
  }

  async createBucket(): Promise<void> {
    const { sdk, client, region } = this.#opened;
    const command = new sdk.CreateBucketCommand({
      Bucket: this.location.bucket,
      // The first region is the one that must not be named.
      ...(region !== 'us-east-1' && { CreateBucketConfiguration: { LocationConstraint: region as 'eu-west-1' } }),
    });
    try {
      await this.#send('s3:CreateBucket', () => client.send(command));
    } catch (error) {
      if (causeOf(error) !== 'BucketAlreadyOwnedByYou') throw error;
    }
  }

  async rules(): Promise<readonly Rule[]> {
    const { sdk, client } = this.#opened;
    const command = new sdk.GetBucketLifecycleConfigurationCommand({ Bucket: this.location.bucket });
    try {
      return (await this.#send('s3:GetLifecycleConfiguration', () => client.send(command))).Rules ?? [];
    } catch (error) {
      if (causeOf(error) === 'NoSuchLifecycleConfiguration') return [];
      throw error;
    }
  }

  /** Adds a rule, or replaces the one of its name; the others stay. */
  async setRule(rule: Rule): Promise<void> {
    const { sdk, client } = this.#opened;
    const others = (await this.rules()).filter(({ ID: id }) => id !== rule.ID);
    const command = new sdk.PutBucketLifecycleConfigurationCommand({
      Bucket: this.location.bucket,
      LifecycleConfiguration: { Rules: [...others, rule] },
    });
    await this.#send('s3:PutLifecycleConfiguration', () => client.send(command));
  }

  async #send<T>(action: string, call: () => Promise<T>): Promise<T> {
    const { url, bucket } = this.location;
    try {
      return await call();
    } catch (error) {
      throw awsError(error, { url, action, on: `bucket '${bucket}'`, arn: bucketArn(bucket) });
    }
  }
}

/** Opens an admin client for as long as `use` takes. */
async function withAdmin<T>(location: S3Location, use: (admin: S3Admin) => Promise<T>): Promise<T> {
  const opened = await openS3(location);
  try {
    return await use(new S3Admin(location, opened));
  } finally {
    opened.client.destroy();
  }
}

/** @throws ConfigError where the store writes although the condition does not hold */
async function checkConditions(location: S3Location): Promise<void> {
  const bucket = await openBucket(location);
  try {
    const probe = { key: `${location.basePath}lovage-probe`, data: Buffer.from('a write that must be refused') };
    await bucket.put(probe);
    const written = await bucket.put(probe, { absent: true });
    await bucket.removeMany([probe.key]);
    if (written === undefined) return;
  } finally {
    bucket.close();
  }
  throw new ConfigError(
    `${location.url} ignores If-None-Match: results would overwrite each other, and chords and claims would be wrong there. Expected S3 itself, or a store with conditional writes`,
  );
}

async function bucketStep(admin: S3Admin): Promise<SetupStep> {
  const { location } = admin;
  const step = { kind: 'bucket', name: location.bucket };
  if (await admin.hasBucket()) return { ...step, state: 'exists', details: [] };
  const apply = () => withAdmin(location, (own) => own.createBucket());
  return { ...step, state: 'missing', details: [], apply };
}

async function ruleSteps(admin: S3Admin, needs: StoreNeeds): Promise<SetupStep[]> {
  const { location } = admin;
  const known = (await admin.hasBucket()) ? await admin.rules() : [];
  return wantedRules(location, needs).map((rule): SetupStep => {
    const step = { kind: 'lifecycle rule', name: rule.ID ?? '' };
    const apply = () =>
      withAdmin(location, async (own) => {
        await checkConditions(location);
        await own.setRule(rule);
      });
    const days = rule.Expiration?.Days;
    const is = known.find(({ ID: id }) => id === rule.ID);
    if (!is) return { ...step, state: 'missing', details: [`removes objects after ${days} days`], apply };
    if (is.Status === 'Enabled' && is.Expiration?.Days === days) return { ...step, state: 'exists', details: [] };
    const details = [`${is.Status}, days ${is.Expiration?.Days ?? 'none'} -> Enabled, days ${days}`];
    return { ...step, state: 'differs', details, apply };
  });
}

/**
 * As long as results are kept, and messages that wait for their payloads; a day more, because S3 counts from midnight.
 * Where there is no base path there may be other objects in the bucket.
 */
function wantedRules({ basePath, expireDays }: S3Location, { resultTtlMs = 0 }: StoreNeeds): Rule[] {
  const days = Math.max(expireDays, Math.ceil(resultTtlMs / DAY_MS) + 1);
  const prefixes = basePath === '' ? ['celery-task', 'lovage-'] : [basePath];
  return prefixes.map((prefix) => ({
    ID: `lovage: ${prefix}`,
    Status: 'Enabled',
    Filter: { Prefix: prefix },
    Expiration: { Days: days },
  }));
}

function causeOf(error: unknown): string {
  return awsErrorName((error as Error).cause);
}
