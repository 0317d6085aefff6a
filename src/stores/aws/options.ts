import { ConfigError } from '../../errors.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { kinds, type OptionsOf, option } from '../../util/options.ts';

/** What every AWS driver understands behind the `?` of its URL and beside it. Each may also be written as kombu does, `is_secure`. */
export const awsOptions = {
  region: option({
    kind: kinds.text,
    doc: 'The region, such as eu-west-1. Default: AWS_REGION, AWS_DEFAULT_REGION, or that of the AWS profile.',
  }),
  endpointUrl: option({
    kind: kinds.text,
    doc: 'Where the service answers, for a VPC endpoint or a stand-in. Default: by region.',
  }),
  isSecure: option({ kind: kinds.flag, default: true, doc: 'false: http instead of https, for a host in the URL.' }),
  accessKeyId: option({ kind: kinds.text, doc: "A key of one's own, instead of what the AWS SDK finds." }),
  secretAccessKey: option({ kind: kinds.text, doc: 'Its secret.' }),
  sessionToken: option({ kind: kinds.text, doc: 'Its session token, for a temporary key.' }),
  requestTimeout: option({
    kind: kinds.seconds(0.001),
    default: 10,
    doc: 'Seconds to wait for the answer to a request; a long poll gets its own time on top.',
  }),
  connectTimeout: option({ kind: kinds.seconds(0.001), default: 5, doc: 'Seconds to wait for a connection.' }),
  maxConnections: option({ kind: kinds.int(1), default: 50, doc: 'Most connections of one process to the service.' }),
} as const;

/** The options of {@link awsOptions}. */
export type AwsOptions = OptionsOf<typeof awsOptions>;

/** A key, as the SDK's clients take it. */
export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** How to reach a service of AWS; all plain data. */
export interface AwsAddress {
  /** `undefined`: the SDK finds it. */
  readonly region: string | undefined;
  /** `undefined`: the service's own in that region. */
  readonly endpoint: string | undefined;
  /** `undefined`: the SDK's chain of environment, profile, container and machine. */
  readonly keys: AwsKeys | undefined;
  /** The keys stand in the URL, where they are easily seen. */
  readonly keysInUrl: boolean;
  readonly requestTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly maxConnections: number;
}

/** The parts of `scheme://key:secret@host:port/path?query`, decoded, each empty where it is not there. */
export interface AwsUrl {
  readonly scheme: string;
  readonly user: string;
  readonly password: string;
  readonly host: string;
  readonly port: string;
  /** Without the slashes around it. */
  readonly path: string;
  /** As it stands there. */
  readonly query: string;
  /** "the SQS URL sqs://key:**@": begins a sentence of an error, secrets masked. */
  readonly where: string;
}

/**
 * Takes a URL of an AWS driver apart. `service` is for people, such as `SQS`. Unlike other URLs it may have a login and no
 * host, and a secret may have a slash in it, as people paste them.
 * @throws ConfigError
 */
export function readAwsUrl(url: string, service: string): AwsUrl {
  const where = `the ${service} URL ${maskUrl(url)}`;
  const [, scheme = '', rest = '', query = ''] = /^([a-z][a-z0-9+.-]*):(?:\/\/)?([^?]*)\??(.*)$/is.exec(url) ?? [];
  if (scheme === '') throw new ConfigError(`${where}: expected scheme://[key:secret@][host]`);
  const at = rest.lastIndexOf('@');
  const [user = '', ...password] = rest.slice(0, Math.max(0, at)).split(':');
  const place = rest.slice(at + 1);
  const [, host = '', port = '', path = ''] = /^(\[[^\]]*\]|[^:/]*)(?::([^/]*))?(.*)$/s.exec(place) ?? [];
  if (!/^\d*$/.test(port)) throw new ConfigError(`${where}: expected a number behind the host, got ':${port}'`);
  const decode = (text: string) => {
    try {
      return decodeURIComponent(text);
    } catch {
      throw new ConfigError(`${where}: a % must be written %25`);
    }
  };
  return {
    scheme: scheme.toLowerCase(),
    user: decode(user),
    password: decode(password.join(':')),
    host: decode(host),
    port,
    path: decode(path.replace(/^\/+|\/+$/g, '')),
    query,
    where,
  };
}

/**
 * Where the service is and who we are, from a URL's login, an endpoint that the driver read from its URL (if any), and the
 * options.
 * @throws ConfigError for half a key
 */
export function awsAddress(
  { user, password, where }: Pick<AwsUrl, 'user' | 'password' | 'where'>,
  options: AwsOptions,
  place: { readonly region?: string | undefined; readonly endpoint?: string | undefined } = {},
): AwsAddress {
  const endpoint = checkedEndpoint(options.endpointUrl ?? place.endpoint, where);
  const inUrl = user !== '' || password !== '';
  const keys = readKeys(
    inUrl ? { accessKeyId: user, secretAccessKey: password } : options,
    options.sessionToken,
    where,
  );
  const seconds = (value: number | undefined, fallback: number) => (value ?? fallback) * 1000;
  return {
    region: options.region ?? place.region ?? regionOf(endpoint),
    endpoint,
    keys,
    keysInUrl: inUrl,
    requestTimeoutMs: seconds(options.requestTimeout, awsOptions.requestTimeout.default),
    connectTimeoutMs: seconds(options.connectTimeout, awsOptions.connectTimeout.default),
    maxConnections: options.maxConnections ?? awsOptions.maxConnections.default,
  };
}

/** The endpoint that a host in a URL means; `undefined` for no host. */
export function hostEndpoint({ host, port }: Pick<AwsUrl, 'host' | 'port'>, isSecure: boolean): string | undefined {
  if (host === '') return undefined;
  return `${isSecure ? 'https' : 'http'}://${host}${port === '' ? '' : `:${port}`}`;
}

function readKeys(
  { accessKeyId = '', secretAccessKey = '' }: Pick<AwsOptions, 'accessKeyId' | 'secretAccessKey'>,
  sessionToken: string | undefined,
  where: string,
): AwsKeys | undefined {
  if (accessKeyId === '' && secretAccessKey === '') return undefined;
  if (accessKeyId === '' || secretAccessKey === '') {
    throw new ConfigError(
      `${where}: expected an access key and its secret, or neither of them, got the ${accessKeyId ? 'key' : 'secret'} alone`,
    );
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
}

function checkedEndpoint(endpoint: string | undefined, where: string): string | undefined {
  if (endpoint === undefined || (URL.canParse(endpoint) && /^https?:/i.test(endpoint))) return endpoint;
  throw new ConfigError(`${where}: expected an endpoint such as http://localhost:4566, got '${maskUrl(endpoint)}'`);
}

/** The region that an endpoint tells; a stand-in takes any. */
function regionOf(endpoint: string | undefined): string | undefined {
  if (endpoint === undefined) return undefined;
  const { hostname } = new URL(endpoint);
  if (!/\.amazonaws\.com(\.cn)?$/.test(hostname)) return 'us-east-1';
  return /(?:^|\.)([a-z]{2}(?:-[a-z]+)+-\d)\./.exec(hostname)?.[1];
}
