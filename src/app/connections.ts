import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ResultBackend } from '../contracts/backend.ts';
import type { Broker } from '../contracts/broker.ts';
import { ConfigError } from '../errors.ts';
import { maskUrl } from '../util/mask-url.ts';
import { nearest } from '../util/nearest.ts';
import type { Config } from './config.ts';

export type DriverOptions = Readonly<Record<string, unknown>>;

/** URL schemes and how to load what they name. */
export interface Drivers {
  readonly brokers: Readonly<Record<string, () => Promise<(url: string, options: DriverOptions) => Broker>>>;
  readonly backends: Readonly<Record<string, () => Promise<(url: string, options: DriverOptions) => ResultBackend>>>;
  /** A result backend that nobody else sees and that goes with its last user, for eager runs. */
  readonly ownBackend: () => Promise<() => ResultBackend>;
}

export interface Connections {
  readonly broker: Broker;
  readonly backend: ResultBackend | undefined;
}

/** Makes the broker and the result backend that a configuration names. */
export async function makeStores(config: Config, drivers: Drivers): Promise<Connections> {
  const brokerUrl = config.broker ?? 'sqlite://';
  const broker =
    typeof brokerUrl === 'string'
      ? await load(drivers.brokers, 'broker', placed(brokerUrl), config.brokerTransportOptions)
      : brokerUrl;
  return { broker, backend: await chooseBackend(config, drivers, brokerUrl) };
}

/** Makes and starts them. */
export async function connect(config: Config, drivers: Drivers): Promise<Connections> {
  const { broker, backend } = await makeStores(config, drivers);
  await broker.start();
  try {
    await backend?.start();
    return { broker, backend };
  } catch (error) {
    await broker.stop();
    throw error;
  }
}

async function chooseBackend(
  config: Config,
  drivers: Drivers,
  brokerUrl: string | Broker,
): Promise<ResultBackend | undefined> {
  if (config.backend === false) return undefined;
  if (typeof config.backend === 'object') return config.backend;
  const same = typeof brokerUrl === 'string' && schemeOf(brokerUrl) in drivers.backends ? brokerUrl : undefined;
  const url = config.backend ?? same;
  return url === undefined
    ? undefined
    : load(drivers.backends, 'result backend', placed(url), config.resultBackendTransportOptions);
}

async function load<T>(
  drivers: Readonly<Record<string, () => Promise<(url: string, options: DriverOptions) => T>>>,
  what: string,
  url: string,
  options: DriverOptions,
): Promise<T> {
  const scheme = schemeOf(url);
  const loader = Object.hasOwn(drivers, scheme) ? drivers[scheme] : undefined;
  if (!loader) {
    const known = Object.keys(drivers);
    const close = nearest(scheme, known);
    const hint = close ? `did you mean '${close}://'?` : `known schemes: ${known.map((s) => `${s}://`).join(', ')}`;
    throw new ConfigError(`there is no ${what} for '${maskUrl(url)}'; ${hint}`);
  }
  return (await loader())(url, options);
}

function schemeOf(url: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1];
  if (!scheme) throw new ConfigError(`expected a URL such as 'sqlite:///path/to/file.db', got '${maskUrl(url)}'`);
  return scheme.toLowerCase();
}

/** `sqlite://` alone (perhaps with options) means the project's own file. */
function placed(url: string): string {
  const bare = /^sqlite:(?:\/\/)?(\?.*)?$/i.exec(url);
  return bare ? `sqlite://${projectFile()}${bare[1] ?? ''}` : url;
}

function projectFile(): string {
  return join(projectFolder(), 'lovage.db');
}

/** `.lovage` beside the nearest package.json, a folder that git ignores by itself; made where it is missing. */
export function projectFolder(): string {
  const folder = join(projectRoot(process.cwd()), '.lovage');
  mkdirSync(folder, { recursive: true });
  const ignore = join(folder, '.gitignore');
  if (!existsSync(ignore)) writeFileSync(ignore, '*\n');
  return folder;
}

function projectRoot(from: string): string {
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (dirname(folder) === folder) return from;
  }
}
