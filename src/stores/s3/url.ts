import { ConfigError } from '../../errors.ts';
import { camelKeys, camelQuery } from '../../util/camel-names.ts';
import { kinds, type OptionsOf, option } from '../../util/options.ts';
import { readUrlOptions } from '../../util/url-options.ts';
import { type AwsAddress, awsAddress, awsOptions, readAwsUrl } from '../aws/options.ts';

/**
 * What an `s3:` URL may carry behind its `?`, and the factories in their second argument. Each may also be written as Celery
 * does, `base_path` for `basePath`.
 */
export const s3Options = {
  ...awsOptions,
  bucket: option({ kind: kinds.text, doc: 'The bucket, where the URL has none.' }),
  basePath: option({
    kind: kinds.text,
    doc: "Celery's: in front of every key, with nothing in between. A path in the URL is the same with a slash behind it.",
  }),
  expireDays: option({
    kind: kinds.int(1, 3650),
    default: 35,
    doc: 'Days after which the rule that lovage setup makes removes objects below the path. Results are left out by readers when their own time is over.',
  }),
  pollInterval: option({
    kind: kinds.seconds(0.01),
    default: 2,
    doc: 'Seconds between two looks for results that somebody waits for; at first they come quicker.',
  }),
} as const;

/** The options of `s3Backend`. */
export type S3Options = OptionsOf<typeof s3Options>;

/** Which bucket, where in it, and how it is to be used. */
export interface S3Location {
  /** The URL with secrets masked. */
  readonly url: string;
  readonly address: AwsAddress;
  readonly bucket: string;
  /** In front of every key. */
  readonly basePath: string;
  readonly expireDays: number;
  readonly pollMs: number;
}

/**
 * Reads `s3://[key:secret@]bucket[/path]`, or `s3://` with the option `bucket`, each with options behind a `?`.
 * @throws ConfigError for another scheme, a wrong part of the URL, or a wrong option
 */
export function s3Location(url: string, options: Readonly<Record<string, unknown>> = {}): S3Location {
  const parts = readAwsUrl(url, 'S3');
  const { scheme, host, port, path, query, where } = parts;
  if (scheme !== 's3') throw new ConfigError(`expected a URL such as s3://bucket/path, got ${where}`);
  if (port !== '') throw new ConfigError(`${where}: expected a bucket; a stand-in is named by the option endpointUrl`);
  const given = readUrlOptions(s3Options, camelQuery(query), camelKeys(options) as S3Options, where);
  const bucket = host !== '' ? host : given.bucket;
  if (bucket === undefined)
    throw new ConfigError(`${where}: expected a bucket, as s3://bucket or in the option bucket (Celery: s3_bucket)`);
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw new ConfigError(`${where}: expected the name of a bucket (3 to 63 of a-z 0-9 . -), got '${bucket}'`);
  }
  return {
    url: where.replace(/^the S3 URL /, ''),
    address: awsAddress(parts, given),
    bucket,
    basePath: path !== '' ? `${path}/` : (given.basePath ?? ''),
    expireDays: given.expireDays ?? s3Options.expireDays.default,
    pollMs: (given.pollInterval ?? s3Options.pollInterval.default) * 1000,
  };
}
