import { ConfigError, LovageError, StoreAccessError, StoreError, StoreMissingError } from '../../errors.ts';

/** What was asked of AWS when it failed. */
export interface AwsCall {
  /** The URL of the store, masked. */
  readonly url: string;
  /** Where it was asked: what is missing may be in another one. */
  readonly region?: string;
  /** As policies name it, such as `sqs:SendMessage`. */
  readonly action?: string;
  /** For people, such as `queue 'celery'`. */
  readonly on?: string;
  /** Its ARN, as far as it is known, for a line of a policy. */
  readonly arn?: string | undefined;
  /** Ends the sentence "... does not exist: ". */
  readonly whenMissing?: string;
}

/** What errors of the SDK and of Node have in common. */
interface Raised extends Error {
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $retryable?: { readonly throttling?: boolean };
}

type Maker = (call: AwsCall, cause: Raised) => LovageError;

/** Says in Lovage's words, and with what to do, what the AWS SDK, the service or the network raised. Errors of ours come back as they are. */
export function awsError(error: unknown, call: AwsCall): Error {
  if (error instanceof LovageError) return error;
  if (!(error instanceof Error)) return new StoreError(`${place(call)}: ${String(error)}`);
  return (byNetwork(error) ?? byName(error) ?? byStatus(error))(call, error);
}

/** What the service or the SDK calls an error, such as `QueueDoesNotExist`, without what stands around it. */
export function awsErrorName(error: unknown): string {
  if (!(error instanceof Error)) return '';
  return error.name.replace(/^.*[.#]/, '');
}

/** Whether it says: not so fast. */
export function isThrottling(error: unknown): boolean {
  const { $retryable, $metadata } = error as Raised;
  if ($retryable?.throttling === true || $metadata?.httpStatusCode === 429) return true;
  return /Throttl|TooManyRequests|ThroughputExceeded|RequestLimitExceeded|SlowDown|BandwidthLimit/.test(
    `${awsErrorName(error)} ${(error as Raised).code ?? ''}`,
  );
}

/** One line of an IAM policy that allows some actions. */
export function policyLine(actions: readonly string[], resource: string): string {
  const shown = actions.map((action) => `"${action}"`).join(', ');
  return `{ "Effect": "Allow", "Action": [${shown}], "Resource": "${resource}" }`;
}

const rules: readonly (readonly [names: RegExp, make: Maker])[] = [
  [/^CredentialsProviderError$|^CredentialsError$/, noCredentials],
  [/^ExpiredToken|TokenRefreshRequired|^RequestExpired/, expired],
  [
    /^(InvalidClientTokenId|UnrecognizedClient\w*|InvalidAccessKeyId|InvalidSecurity|AuthFailure|MissingAuthenticationToken\w*|InvalidToken)$/,
    unknownKey,
  ],
  [/^(RequestTimeTooSkewed|InvalidSignature\w*|SignatureDoesNotMatch|IncompleteSignature\w*)$/, badSignature],
  [/^(AccessDenied|UnauthorizedOperation|NotAuthorized|KmsAccessDenied|AllAccessDisabled)\w*$/, denied],
  [
    /^(PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraintException|TemporaryRedirect)$/,
    elsewhere,
  ],
  [/(DoesNotExist|NonExistentQueue|^NoSuchBucket|^ResourceNotFound\w*|^KmsNotFound\w*)$/, missing],
  [/^TimeoutError$|^RequestTimeout/, noAnswer],
];

function byName(error: Raised): Maker | undefined {
  if (isThrottling(error)) return throttled;
  if (/^Region is missing/.test(error.message)) return noRegion;
  // Stand-ins and proxies may have the name in the code only.
  const names = [awsErrorName(error), typeof error.code === 'string' ? error.code.replace(/^.*\./, '') : ''];
  return rules.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1];
}

function byNetwork(error: Raised): Maker | undefined {
  const code = String(error.code ?? '');
  if (code === 'ENOTFOUND') return unknownHost;
  if (/^(ERR_TLS|ERR_SSL|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code)) return notSecure;
  // The SDK calls it a timeout.
  if (code === 'ECONNRESET' || code === 'EPIPE') return broken;
  if (error.name === 'TimeoutError') return noAnswer;
  if (/^E[A-Z]+$/.test(code)) return unreachable;
  return undefined;
}

/** What has no rule: trying again can help with the service's own faults, not with what it says is wrong with ours. */
function byStatus({ $metadata }: Raised): Maker {
  const status = $metadata?.httpStatusCode ?? 0;
  return (call, cause) => {
    const text = `${doing(call)} failed: ${cause.message || awsErrorName(cause)}`;
    return status >= 400 && status < 500 && status !== 408
      ? new RefusedError(`${text} (${awsErrorName(cause)}, HTTP ${status})`, { cause })
      : new StoreError(status >= 500 ? `${text} (HTTP ${status})` : text, { cause });
  };
}

/** What was asked is wrong: asking again comes to the same. */
class RefusedError extends StoreError {
  override readonly retryable = false;
}

function place({ url, on }: AwsCall): string {
  return on === undefined ? url : `${on} of ${url}`;
}

function doing(call: AwsCall): string {
  return call.action === undefined ? place(call) : `${call.action} on ${place(call)}`;
}

function noRegion({ url }: AwsCall, cause: Raised): LovageError {
  return new ConfigError(
    `${url}: expected a region. Give the option region, such as eu-west-1, or set AWS_REGION or AWS_DEFAULT_REGION`,
    { cause },
  );
}

function noCredentials({ url }: AwsCall, cause: Raised): LovageError {
  return new StoreAccessError(
    `${url}: no credentials were found (${cause.message}). Give this machine or container a role, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose a profile with AWS_PROFILE`,
    { cause },
  );
}

/** What takes its credentials from a role gets new ones by itself, so that trying again can help. */
function expired({ url }: AwsCall, cause: Raised): LovageError {
  return new StoreError(
    `${url}: the session token has expired (${awsErrorName(cause)}). Log in again (aws sso login), or give the process a role, whose token is renewed by itself`,
    { cause },
  );
}

function unknownKey({ url }: AwsCall, cause: Raised): LovageError {
  return new StoreAccessError(
    `${url}: AWS does not know this access key (${awsErrorName(cause)}). Is it of another account or partition, deleted, or a temporary one without its session token?`,
    { cause },
  );
}

/** The SDK sets its own clock right by the service's after such an answer, so that the next try can succeed. */
function badSignature({ url }: AwsCall, cause: Raised): LovageError {
  const isClock = /skew|expired|not yet current|too far/i.test(`${awsErrorName(cause)} ${cause.message}`);
  if (isClock) {
    return new StoreError(
      `${url}: the clock of this machine differs from that of AWS by more than it allows (5 to 15 minutes). Set it right, with NTP (${cause.message})`,
      { cause },
    );
  }
  return new StoreAccessError(
    `${url}: the secret does not belong to the access key (${awsErrorName(cause)}). In a URL, write special characters of the secret as %xx, such as %2F for a slash`,
    { cause },
  );
}

function denied(call: AwsCall, cause: Raised): LovageError {
  const told = /perform: ([\w:-]+)(?: on resource: (\S+))?/i.exec(cause.message);
  const isKey = awsErrorName(cause).startsWith('Kms');
  const action = call.action ?? told?.[1] ?? 'this action';
  const resource = call.arn ?? told?.[2]?.replace(/["'.,]+$/, '') ?? '*';
  const line = isKey
    ? policyLine(['kms:Decrypt', 'kms:GenerateDataKey'], '<the key that encrypts it>')
    : policyLine([action], resource);
  return new StoreAccessError(
    `access denied: ${doing(call)} (${cause.message || awsErrorName(cause)}). Add to the policy of its role or user: ${line}`,
    { cause },
  );
}

function elsewhere(call: AwsCall, cause: Raised): LovageError {
  const region = /expecting '([\w-]+)'/.exec(cause.message)?.[1];
  return new ConfigError(
    `${place(call)} is in another region${region ? `, ${region}` : ''} (${awsErrorName(cause)}): give the option region`,
    { cause },
  );
}

function missing(call: AwsCall, cause: Raised): LovageError {
  return new StoreMissingError(
    `${place(call)}${call.region === undefined ? '' : ` in ${call.region}`} does not exist${call.whenMissing === undefined ? '' : `: ${call.whenMissing}`}`,
    { cause },
  );
}

function throttled(call: AwsCall, cause: Raised): LovageError {
  return new StoreError(
    `${doing(call)} was throttled by AWS (${awsErrorName(cause) || cause.message}): too many requests at once`,
    { cause },
  );
}

function noAnswer(call: AwsCall, cause: Raised): LovageError {
  return new StoreError(`${doing(call)} got no answer in time (${cause.message})`, { cause });
}

function unknownHost({ url }: AwsCall, cause: Raised): LovageError {
  const host = /ENOTFOUND (\S+)/.exec(cause.message)?.[1];
  const region = /^[a-z0-9]+\.([a-z0-9-]+)\.amazonaws\.com/.exec(host ?? '')?.[1];
  const hint = region ? `: is '${region}' a region of AWS?` : '';
  return new StoreError(`${url}: the host ${host ?? ''} is not known${hint} (${cause.message})`, { cause });
}

function notSecure({ url }: AwsCall, cause: Raised): LovageError {
  return new ConfigError(
    `${url}: no safe connection (${cause.message}). Does it speak https? For http set is_secure=false; for a certificate of your own set NODE_EXTRA_CA_CERTS`,
    { cause },
  );
}

function broken(call: AwsCall, cause: Raised): LovageError {
  return new StoreError(`the connection broke before ${doing(call)} was answered (${cause.message})`, { cause });
}

function unreachable(call: AwsCall, cause: Raised): LovageError {
  return new StoreError(`${place(call)} cannot be reached (${cause.message || String(cause.code)})`, { cause });
}
