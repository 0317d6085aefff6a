import { readFileSync } from 'node:fs';
import { ConfigError } from '../../errors.ts';
import { camelKeys, camelQuery } from '../../util/camel-names.ts';
import { ignored, priorityStepsKind } from '../../util/kombu-options.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { kinds, type OptionsOf, option } from '../../util/options.ts';
import { readUrlOptions } from '../../util/url-options.ts';

const certReqs = ['none', 'optional', 'required', 'CERT_NONE', 'CERT_OPTIONAL', 'CERT_REQUIRED'] as const;
/**
 * What a `redis:` URL may carry behind its `?`, and the factories in their second argument. Each may also be written as
 * kombu does, `visibility_timeout` for `visibilityTimeout`.
 */
export const redisOptions = {
  leaseTimeout: option({
    kind: kinds.seconds(0.001),
    default: 30,
    doc: 'Seconds that a message stays with its Lovage worker unless extended; after that somebody else gets it.',
  }),
  visibilityTimeout: option({
    kind: kinds.seconds(0.001),
    default: 3600,
    doc: "Celery's: seconds after which a message that a Python worker holds is taken for lost. Give all sides the same.",
  }),
  parkDelayed: option({
    kind: kinds.flag,
    default: true,
    doc: 'true: delayed messages wait in Redis. false: they go into their queue at once and carry their eta, as Celery sends them: for queues that only Python workers consume.',
  }),
  globalKeyprefix: option({
    kind: kinds.text,
    doc: 'Goes in front of every key and channel, with nothing in between.',
  }),
  sep: option({
    kind: kinds.text,
    default: '\x06\x16',
    doc: 'Between the name of a queue and its priority step in the name of a list.',
  }),
  prioritySteps: option({
    kind: priorityStepsKind,
    default: [0, 3, 6, 9],
    doc: 'A priority is rounded down to one of these; each has a list of its own.',
  }),
  fanoutPrefix: option({
    kind: kinds.custom<boolean | string>(
      'true, false or a string',
      (v) => typeof v === 'boolean' || typeof v === 'string',
      (t) => kinds.flag.parse(t) ?? t,
    ),
    default: true,
    doc: "In front of the bus's channels: true for /{db}., false for nothing, or a text of your own.",
  }),
  unackedKey: option({ kind: kinds.text, default: 'unacked', doc: 'The hash of messages that somebody holds.' }),
  unackedIndexKey: option({
    kind: kinds.text,
    default: 'unacked_index',
    doc: 'The sorted set of when they were taken.',
  }),
  unackedRestoreLimit: option({
    kind: kinds.int(1),
    default: 100,
    doc: 'Most messages of dead workers that one call gives back.',
  }),
  masterName: option({ kind: kinds.text, doc: 'Which master to ask the sentinels for; needed with sentinel://.' }),
  sentinelKwargs: option({ kind: kinds.map, doc: 'username and password for the sentinels themselves.' }),
  socketTimeout: option({
    kind: kinds.seconds(0.001),
    default: 10,
    doc: 'Seconds to wait for the answer to a command.',
  }),
  socketConnectTimeout: option({
    kind: kinds.seconds(0.001),
    default: 10,
    doc: 'Seconds to wait for a connection, at the start and for each try later.',
  }),
  clientName: option({ kind: kinds.text, default: 'lovage', doc: 'What CLIENT LIST shows.' }),
  sslCertReqs: option({
    kind: kinds.oneOf(...certReqs),
    default: 'required',
    doc: 'rediss:// only. none takes any certificate, as Heroku needs it.',
  }),
  sslCheckHostname: option({
    kind: kinds.flag,
    default: true,
    doc: 'rediss:// only: the certificate is of that host.',
  }),
  sslCaCerts: option({ kind: kinds.text, doc: 'rediss:// only: a PEM file with the authorities to trust.' }),
  sslCertfile: option({ kind: kinds.text, doc: 'rediss:// only: a PEM file with our own certificate.' }),
  sslKeyfile: option({ kind: kinds.text, doc: 'rediss:// only: a PEM file with its key.' }),
  virtualHost: option({ kind: kinds.int(0), default: 0, doc: 'redis+socket:// only: the number of the database.' }),
  queueOrderStrategy: ignored('queues take turns here.'),
  fanoutPatterns: ignored('listeners always understand patterns.'),
  unackedMutexKey: ignored('giving back is one atomic step here.'),
  unackedMutexExpire: ignored('giving back is one atomic step here.'),
  ackEmulation: ignored('messages are always acknowledged.'),
  socketKeepalive: ignored('it is always on.'),
  socketKeepaliveOptions: ignored('the system decides.'),
  maxConnections: ignored('the number of connections is fixed.'),
  healthCheckInterval: ignored('each command has a timeout.'),
  retryOnTimeout: ignored('the core decides what is tried again.'),
  retryPolicy: ignored('the core decides what is tried again.'),
  minOtherSentinels: ignored('any sentinel that answers is believed.'),
  bodyEncoding: ignored('bodies are base64; others are read.'),
  deadletterQueue: ignored('nothing is ever without a queue here.'),
  pollingInterval: ignored('waiting does not poll here.'),
  credentialProvider: ignored('it is Python code.'),
  unackedRestoreInterval: ignored('the lists are watched.'),
  unackedRestoreThrottle: ignored('the lists are watched.'),
  reauthCheckInterval: ignored('it belongs to credential_provider.'),
} as const;

/** The options of `redisBroker` and `redisBackend`. */
export type RedisOptions = OptionsOf<typeof redisOptions>;

/** How to reach a Redis; all plain data. */
export interface RedisAddress {
  readonly host?: string;
  readonly port?: number;
  /** Of a Unix socket. */
  readonly path?: string;
  readonly sentinels?: readonly { readonly host: string; readonly port: number }[];
  readonly masterName?: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly tls?: {
    readonly rejectUnauthorized: boolean;
    readonly checkHostname: boolean;
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
  };
}

/** Where a Redis store is and how it is to be used. */
export interface RedisLocation {
  /** The URL with secrets masked. */
  readonly url: string;
  readonly address: RedisAddress;
  /** Every option, with its default where it was not given. */
  readonly options: RedisOptions;
  readonly keyPrefix: string;
  readonly leaseMs: number;
  readonly visibilityMs: number;
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly clientName: string;
}

/**
 * Reads `redis://[user:password@]host[:6379][/db]`, `rediss://`, `redis+socket:///path?virtual_host=n` and
 * `sentinel://host:26379/0;sentinel://...`, each with options behind a `?`.
 * @throws ConfigError for another scheme, a wrong part of the URL, or a wrong option
 */
export function redisLocation(url: string, options: Readonly<Record<string, unknown>> = {}): RedisLocation {
  const masked = url.split(';').map(maskUrl).join(';');
  const where = `the Redis URL ${masked}`;
  const [bare = '', query = ''] = splitOnce(url, '?');
  const given = readUrlOptions(redisOptions, camelQuery(query), camelKeys(options) as RedisOptions, where);
  const seconds = (value: number | undefined, fallback: number) => (value ?? fallback) * 1000;
  return {
    url: masked,
    address: readAddress(bare, given, where),
    options: given,
    keyPrefix: given.globalKeyprefix ?? '',
    leaseMs: seconds(given.leaseTimeout, redisOptions.leaseTimeout.default),
    visibilityMs: seconds(given.visibilityTimeout, redisOptions.visibilityTimeout.default),
    commandTimeoutMs: seconds(given.socketTimeout, redisOptions.socketTimeout.default),
    connectTimeoutMs: seconds(given.socketConnectTimeout, redisOptions.socketConnectTimeout.default),
    clientName: given.clientName ?? redisOptions.clientName.default,
  };
}

function readAddress(bare: string, options: RedisOptions, where: string): RedisAddress {
  const [scheme = '', rest = ''] = splitOnce(bare, '://');
  switch (scheme.toLowerCase()) {
    case 'redis':
    case 'rediss': {
      if (bare.includes(';')) {
        throw new ConfigError(`${where} names several servers: give one, or sentinels as sentinel://a;sentinel://b`);
      }
      const { host, port, ...login } = readServer(rest, 6379, where);
      return { host, port, ...login, ...(scheme.toLowerCase() === 'rediss' && { tls: readTls(options, where) }) };
    }
    case 'redis+socket':
      return { ...readSocket(rest, where), db: options.virtualHost ?? 0 };
    case 'sentinel':
      return readSentinels(bare, options, where);
    default:
      throw new ConfigError(`expected a URL such as redis://localhost:6379/0, got ${maskUrl(bare)}`);
  }
}

function readServer(text: string, defaultPort: number, where: string) {
  let parsed: URL;
  try {
    parsed = new URL(`x://${text}`);
  } catch {
    throw new ConfigError(`${where}: expected [user:password@]host[:port][/db]; write special characters as %xx`);
  }
  const database = decode(parsed.pathname.replace(/^\//, ''), where);
  if (!/^\d*$/.test(database)) {
    throw new ConfigError(`${where}: expected the number of a database behind the host, got '${database}'`);
  }
  return {
    host: decode(parsed.hostname, where).replace(/^\[(.*)\]$/, '$1') || 'localhost',
    port: parsed.port === '' ? defaultPort : Number(parsed.port),
    db: Number(database),
    ...(parsed.username !== '' && { username: decode(parsed.username, where) }),
    ...(parsed.password !== '' && { password: decode(parsed.password, where) }),
  };
}

function readSocket(text: string, where: string): Pick<RedisAddress, 'path' | 'username' | 'password'> {
  const [, username = '', password = '', path = ''] = /^(?:([^:@/]*)(?::([^@/]*))?@)?(\/.*)$/.exec(text) ?? [];
  if (path === '') throw new ConfigError(`${where}: expected redis+socket:///path/to/redis.sock`);
  return {
    path: decode(path, where),
    ...(username !== '' && { username: decode(username, where) }),
    ...(password !== '' && { password: decode(password, where) }),
  };
}

function readSentinels(bare: string, options: RedisOptions, where: string): RedisAddress {
  if (options.masterName === undefined) {
    throw new ConfigError(
      `${where}: sentinels need the option masterName (or master_name), such as ?masterName=mymaster`,
    );
  }
  const servers = bare.split(';').map((one) => {
    const [scheme, rest = ''] = splitOnce(one.trim(), '://');
    if (scheme?.toLowerCase() !== 'sentinel') throw new ConfigError(`${where}: expected sentinel:// in each part`);
    return readServer(rest, 26379, where);
  });
  const [first] = servers;
  const { username, password } = options.sentinelKwargs ?? {};
  return {
    sentinels: servers.map(({ host, port }) => ({ host, port })),
    masterName: options.masterName,
    db: first?.db ?? 0,
    ...(first?.username !== undefined && { username: first.username }),
    ...(first?.password !== undefined && { password: first.password }),
    ...(typeof username === 'string' && { sentinelUsername: username }),
    ...(typeof password === 'string' && { sentinelPassword: password }),
  };
}

function readTls(options: RedisOptions, where: string): NonNullable<RedisAddress['tls']> {
  const read = (name: string, file: string | undefined) => {
    try {
      return file === undefined ? undefined : readFileSync(file, 'utf8');
    } catch (cause) {
      throw new ConfigError(`${where}: ${name} cannot be read: ${(cause as Error).message}`, { cause });
    }
  };
  const ca = read('sslCaCerts', options.sslCaCerts);
  const cert = read('sslCertfile', options.sslCertfile);
  const key = read('sslKeyfile', options.sslKeyfile);
  return {
    rejectUnauthorized: !/none$/i.test(options.sslCertReqs ?? 'required'),
    checkHostname: options.sslCheckHostname ?? true,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}

function decode(text: string, where: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConfigError(`${where}: a % must be written %25`);
  }
}

function splitOnce(text: string, by: string): string[] {
  const at = text.indexOf(by);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + by.length)];
}
