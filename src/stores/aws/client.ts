import { isMainThread } from 'node:worker_threads';
import { awsError } from './errors.ts';
import type { AwsAddress, AwsKeys } from './options.ts';

/** What the SDK's clients are made with, as far as we say it. */
export interface AwsClientConfig {
  readonly region?: string;
  readonly endpoint?: string;
  readonly credentials?: AwsKeys;
  readonly maxAttempts: number;
  readonly requestHandler: {
    readonly connectionTimeout: number;
    readonly requestTimeout: number;
    readonly throwOnRequestTimeout: true;
    readonly httpAgent: { readonly maxSockets: number; readonly keepAlive: true };
    readonly httpsAgent: { readonly maxSockets: number; readonly keepAlive: true };
  };
}

/** The part of a client that finds out who and where it is. */
interface Findable {
  readonly config: { region(): Promise<string>; credentials(): Promise<unknown> };
}

/** How every client of the SDK is made. It tries once: the core decides what is tried again, and when. */
export function awsClientConfig({ region, endpoint, keys, ...limits }: AwsAddress): AwsClientConfig {
  const agent = { maxSockets: limits.maxConnections, keepAlive: true } as const;
  // As Python's SDK, which Celery users know, but not the one here.
  const given = region ?? (process.env.AWS_REGION === undefined ? process.env.AWS_DEFAULT_REGION : undefined);
  return {
    ...(given !== undefined && { region: given }),
    ...(endpoint !== undefined && { endpoint }),
    // A copy: the SDK leaves notes of its own in it.
    ...(keys !== undefined && { credentials: { ...keys } }),
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: limits.connectTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      // Without it the SDK prints a warning, and goes on waiting.
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    },
  };
}

/**
 * Finds out, without a request to the service, that a new client has a region and credentials, and gives the region. Warns
 * once where keys stand in a URL.
 * @throws ConfigError, StoreAccessError
 */
export async function openAwsClient(client: Findable, address: AwsAddress, url: string): Promise<string> {
  if (address.keysInUrl) warnOfKeys(address, url);
  try {
    const region = await client.config.region();
    await client.config.credentials();
    return region;
  } catch (error) {
    throw awsError(error, { url });
  }
}

let hasWarned = false;

/** Once in a process; not for a stand-in on this machine, whose keys are worth nothing. */
function warnOfKeys({ endpoint }: AwsAddress, url: string): void {
  if (hasWarned || !isMainThread) return;
  if (endpoint !== undefined && /^(localhost|127\..*|\[::1\])$/.test(new URL(endpoint).hostname)) return;
  hasWarned = true;
  const scheme = /^[^:]*/.exec(url)?.[0];
  process.emitWarning(
    `${url} has keys of AWS in it. URLs are easily seen: in process lists, environments, logs. Leave them out (${scheme}://) and let the AWS SDK find its credentials: a role of the machine, a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`,
    { code: 'LOVAGE_KEYS_IN_URL' },
  );
}
