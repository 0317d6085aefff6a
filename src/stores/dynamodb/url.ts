import { ConfigError } from '../../errors.ts';
import { camelKeys, camelQuery } from '../../util/camel-names.ts';
import { kinds, type OptionsOf, option } from '../../util/options.ts';
import { readUrlOptions } from '../../util/url-options.ts';
import { type AwsAddress, awsAddress, awsOptions, hostEndpoint, readAwsUrl } from '../aws/options.ts';

/**
 * What a `dynamodb:` URL may carry behind its `?`, and the factories in their second argument. Each may also be written as
 * Celery does, `ttl_seconds` for `ttlSeconds`.
 */
export const dynamodbOptions = {
  ...awsOptions,
  ttlSeconds: option({
    kind: kinds.custom<number>(
      'a whole number of seconds, or -1',
      (v) => Number.isInteger(v) && (v as number) >= -1,
      (t) => (/^-?\d+$/.test(t.trim()) ? Number(t) : undefined),
    ),
    doc: "Celery's: seconds that results are kept, instead of resultExpires. 0 and -1: resultExpires.",
  }),
  largeResults: option({
    kind: kinds.custom<string>(
      "'table' or a URL such as s3://bucket/prefix",
      (v) => v === 'table' || (typeof v === 'string' && /^s3:\/\/[^/]/.test(v)),
      (t) => t,
    ),
    default: 'table',
    doc: 'Where a result goes that is too large for an item (400 KB): pieces of it into the same table, or to S3, which costs far less. They are compressed.',
  }),
  cleanKeys: option({
    kind: kinds.flag,
    default: true,
    doc: 'Looks for results also under the key that Celery meant, should somebody write it. false: a third less to read.',
  }),
  pollInterval: option({
    kind: kinds.seconds(0.01),
    default: 2,
    doc: 'Seconds between two looks for results that somebody waits for; at first they come quicker.',
  }),
  read: option({ kind: kinds.int(0), doc: "Accepted for Celery's sake: the table is paid by use." }),
  write: option({ kind: kinds.int(0), doc: "Accepted for Celery's sake: the table is paid by use." }),
} as const;

/** The options of `dynamodbBackend`. */
export type DynamodbOptions = OptionsOf<typeof dynamodbOptions>;

/** Where a table is and how it is to be used. */
export interface DynamodbLocation {
  /** The URL with secrets masked. */
  readonly url: string;
  readonly address: AwsAddress;
  readonly table: string;
  /** How long results are kept, whatever the application says. */
  readonly ttlMs: number | undefined;
  readonly largeResults: string;
  readonly cleanKeys: boolean;
  readonly pollMs: number;
}

/**
 * Reads `dynamodb://[key:secret@][region][/table]` and `dynamodb://[key:secret@]localhost:8000[/table]`, each with options
 * behind a `?`. The table is `celery` unless another is named.
 * @throws ConfigError for another scheme, a wrong part of the URL, or a wrong option
 */
export function dynamodbLocation(url: string, options: Readonly<Record<string, unknown>> = {}): DynamodbLocation {
  const parts = readAwsUrl(url, 'DynamoDB');
  const { scheme, host, path, query, where } = parts;
  if (scheme !== 'dynamodb') throw new ConfigError(`expected a URL such as dynamodb://@eu-west-1/celery, got ${where}`);
  const given = readUrlOptions(dynamodbOptions, camelQuery(query), camelKeys(options) as DynamodbOptions, where);
  const table = path === '' ? 'celery' : path;
  if (!/^[A-Za-z0-9_.-]{3,255}$/.test(table)) {
    throw new ConfigError(`${where}: expected the name of a table (3 to 255 of A-Z a-z 0-9 _ - .), got '${table}'`);
  }
  // Celery takes the host for a region. Where it cannot be one, it is a stand-in on this machine.
  const isHost = host === 'localhost' || parts.port !== '' || /[.:]/.test(host);
  const place = isHost ? { endpoint: hostEndpoint(parts, given.isSecure ?? false) } : { region: host || undefined };
  return {
    url: where.replace(/^the DynamoDB URL /, ''),
    address: awsAddress(parts, given, place),
    table,
    ttlMs: given.ttlSeconds !== undefined && given.ttlSeconds > 0 ? given.ttlSeconds * 1000 : undefined,
    largeResults: given.largeResults ?? dynamodbOptions.largeResults.default,
    cleanKeys: given.cleanKeys ?? dynamodbOptions.cleanKeys.default,
    pollMs: (given.pollInterval ?? dynamodbOptions.pollInterval.default) * 1000,
  };
}
