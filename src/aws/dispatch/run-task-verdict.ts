import { awsErrorName, isThrottling } from '../../stores/aws/errors.ts';

/** What an answer to RunTask means. Only `refused` is about the message; all others are about ECS, now. */
export type VerdictKind =
  /** There is a task. */
  | 'started'
  /** No room, for the moment: not an attempt. */
  | 'capacity'
  /** Too many requests, for the moment: not an attempt. */
  | 'throttled'
  /** Nobody knows whether there is a task; asking again with the same `clientToken` is safe. */
  | 'trouble'
  /** Cluster, task definition, network or permission are wrong: somebody has to mend them. */
  | 'configuration'
  /** This message can never be started so, such as one whose overrides are too large. */
  | 'refused';

/** What comes of one call of RunTask for one task. */
export interface RunTaskVerdict {
  readonly kind: VerdictKind;
  /** What ECS said, for logs and dead letters; empty for `started`. */
  readonly reason: string;
  readonly taskArn?: string;
  /** When it is worth asking again: milliseconds, from and to. */
  readonly waitMs: readonly [from: number, to: number];
  /** Somebody should look: it will not pass by itself, or not soon. */
  readonly alarm: boolean;
}

/** What RunTask answered, as far as it matters here. */
export interface RunTaskAnswer {
  readonly tasks?: readonly { readonly taskArn?: string | undefined }[] | undefined;
  readonly failures?:
    | readonly { readonly reason?: string | undefined; readonly detail?: string | undefined }[]
    | undefined;
}

interface Rule {
  /** Of `failures[].reason`, or `<name of the error>: <message>`. */
  readonly says: RegExp;
  readonly kind: VerdictKind;
  readonly alarm?: boolean;
}

/** How long each kind waits. Capacity comes back within minutes, throttling within seconds, mistakes when somebody mends them. */
const waits: Readonly<Record<VerdictKind, readonly [number, number]>> = {
  started: [0, 0],
  capacity: [15_000, 60_000],
  throttled: [2_000, 10_000],
  trouble: [5_000, 20_000],
  configuration: [600_000, 900_000],
  refused: [0, 0],
};

/** Reasons of failures in an answer with HTTP 200. The first rule that fits counts. */
const failureRules: readonly Rule[] = [
  { says: /^RESOURCE:|^RESOURCE$/, kind: 'capacity' },
  { says: /capacity is unavailable/i, kind: 'capacity' },
  // A quota of the account: others must end first, or somebody must ask AWS for more.
  { says: /limit on the number of (tasks|vCPUs)|quota/i, kind: 'capacity', alarm: true },
  { says: /^AGENT$/, kind: 'trouble' },
  { says: /Rate exceeded|Throttl/i, kind: 'throttled' },
  { says: /^(ATTRIBUTE|LOCATION|MISSING|INACTIVE|MemberOf)/i, kind: 'configuration', alarm: true },
];

/** Errors, as `<name>: <message>`. The first rule that fits counts; wrapped throttling comes before what wraps it. */
const errorRules: readonly Rule[] = [
  { says: /Rate exceeded|ErrorCode: Throttl|^Throttl|^TooManyRequests|^RequestLimitExceeded/i, kind: 'throttled' },
  { says: /capacity is unavailable|^RESOURCE:/i, kind: 'capacity' },
  { says: /PROVISIONING|limit on the number of (tasks|vCPUs)|^LimitExceeded/i, kind: 'capacity', alarm: true },
  { says: /overrides? length|overrides.*(too (large|long)|at most)/i, kind: 'refused' },
  { says: /^(ServerException|InternalFailure|ServiceUnavailable|InternalServerError)/i, kind: 'trouble' },
  {
    says: /^(AccessDenied|ClusterNotFound|ClientException|InvalidParameter|PlatformUnknown|PlatformTaskDefinition|UnsupportedFeature|Blocked|Unrecognized|InvalidClientTokenId|InvalidSignature|ExpiredToken|CredentialsProvider|ConfigError|MissingPackage|Validation)/i,
    kind: 'configuration',
    alarm: true,
  },
];

/**
 * Says what an answer to RunTask, or an error in its place, means: the one place that knows the words of ECS. An answer
 * with HTTP 200 may hold failures; an error may hold tasks (a `clientToken` that was used before).
 */
export function classifyRunTask(answer: RunTaskAnswer | Error): RunTaskVerdict {
  return answer instanceof Error ? ofError(answer) : ofAnswer(answer);
}

function ofAnswer({ tasks = [], failures = [] }: RunTaskAnswer): RunTaskVerdict {
  if (tasks[0]) return started(tasks[0].taskArn);
  const [failure] = failures;
  if (!failure) return verdict('trouble', 'RunTask answered with neither a task nor a failure', true);
  const { reason = '', detail } = failure;
  const rule = failureRules.find(({ says }) => says.test(reason));
  const text = detail ? `${reason} (${detail})` : reason;
  return rule ? verdict(rule.kind, text, rule.alarm) : verdict('trouble', text, true);
}

function ofError(error: Error): RunTaskVerdict {
  const name = awsErrorName(error);
  if (name === 'ConflictException') {
    const { resourceIds } = error as Error & { readonly resourceIds?: readonly string[] };
    return started(resourceIds?.[0]);
  }
  const text = `${name}: ${error.message}`;
  const rule = errorRules.find(({ says }) => says.test(text));
  if (rule) return verdict(rule.kind, text, rule.alarm);
  return isThrottling(error) ? verdict('throttled', text) : verdict('trouble', text);
}

function started(taskArn: string | undefined): RunTaskVerdict {
  return { ...verdict('started', ''), ...(taskArn !== undefined && { taskArn }) };
}

function verdict(kind: VerdictKind, reason: string, alarm = false): RunTaskVerdict {
  return { kind, reason, waitMs: waits[kind], alarm };
}

/** Milliseconds until it is asked again, apart from others; soon where there was no time to ask. */
export function againIn(verdict: RunTaskVerdict | undefined): number {
  const [from, to] = verdict?.waitMs ?? [1_000, 5_000];
  return from + Math.random() * (to - from);
}
