import { hostname, release } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { Command } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import { type Config, configTable, environmentNames } from '../../app/config.ts';
import { maskUrl } from '../../util/mask-url.ts';
import { type OptionTable, show } from '../../util/options.ts';
import { paint, pairs, strictJson } from '../output.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { version } from '../version.ts';
import { queueRows, queueTable } from './queues.ts';

/** `lovage report`: all that somebody who helps wants to know, fit for a bug report. */
export function reportCommand(): Command {
  return new Command('report')
    .description('print versions, configuration, stores, tasks and queues, with secrets masked')
    .action(
      run<[object]>(async (session) => {
        const app = await session.app();
        const stores = await storesOf(app);
        const document = {
          versions: {
            lovage: version,
            node: process.version,
            platform: `${process.platform}-${process.arch} ${release()}`,
            hostname: hostname(),
          },
          app: { name: app.name, file: session.appPath ?? null, folder: process.cwd() },
          config: configOf(app.config, session),
          ...stores,
          tasks: [...app.tasks.keys()].sort(),
        };
        session.out.answer(document, () => text(document));
        return 'error' in stores ? status.failed : status.ok;
      }),
    );
}

type Stores = Awaited<ReturnType<typeof openStores>> | { readonly error: string };

async function storesOf(app: LovageApp): Promise<Stores> {
  try {
    return await openStores(app);
  } catch (error) {
    // A store that cannot be reached is just what the report is for.
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

async function openStores(app: LovageApp) {
  const { broker, backend } = await app.connections();
  return {
    broker: { url: broker.url, features: { ...broker.features, bus: broker.bus !== undefined } },
    backend: backend
      ? { url: backend.url, features: { ...backend.features, joins: backend.joins !== undefined } }
      : null,
    queues: await queueRows(app),
  };
}

interface Setting {
  readonly value: unknown;
  readonly from: string;
}

/** What differs from the defaults, and where it comes from. */
function configOf(config: Config, { overrides }: Session): Record<string, Setting> {
  const settings: Record<string, Setting> = {};
  for (const [name, row] of Object.entries(configTable) as [keyof Config, OptionTable[string]][]) {
    const value = config[name];
    if (value === undefined || isDeepStrictEqual(value, row.default)) continue;
    const overridden = (overrides as Record<string, unknown>)[name] !== undefined;
    settings[name] = { value: masked(value), from: overridden ? 'command line' : (variableOf(row, value) ?? 'app') };
  }
  return settings;
}

/** The environment variable that says the same, which is then where it comes from. */
function variableOf(row: OptionTable[string], value: unknown): string | undefined {
  const name = environmentNames(row).find((variable) => process.env[variable]);
  return name !== undefined && isDeepStrictEqual(row.kind.parse(process.env[name] ?? ''), value) ? name : undefined;
}

function masked(value: unknown, name = ''): unknown {
  if (/secret|password|token|key/i.test(name)) return '**';
  if (typeof value === 'string') return maskUrl(value);
  if (Array.isArray(value)) return value.map((item) => (typeof item === 'function' ? item.name : masked(item)));
  if (typeof value !== 'object' || value === null) return typeof value === 'function' ? show(value) : value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return show(value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, masked(item, key)]));
}

interface Report {
  readonly versions: Readonly<Record<string, string>>;
  readonly app: { readonly name: string; readonly file: string | null; readonly folder: string };
  readonly config: Readonly<Record<string, Setting>>;
  readonly tasks: readonly string[];
}

function text(report: Report & Stores): string {
  const settings = Object.entries(report.config).map(
    ([name, { value, from }]) => [name, `${strictJson(value)}  ${paint('dim', `(${from})`)}`] as const,
  );
  const sections: [string, string][] = [
    ['versions', pairs(Object.entries(report.versions), '  ')],
    [
      'app',
      pairs(
        [
          ['name', report.app.name],
          ['file', report.app.file ?? 'none (-A)'],
          ['folder', report.app.folder],
        ],
        '  ',
      ),
    ],
    ['configuration that differs from the defaults', settings.length > 0 ? pairs(settings, '  ') : '  none'],
    ...storeSections(report),
    ['tasks', report.tasks.length > 0 ? report.tasks.map((name) => `  ${name}`).join('\n') : '  none'],
  ];
  return sections.map(([title, body]) => `${paint(['bold', 'green'], title)}\n${body}`).join('\n\n');
}

function storeSections(stores: Stores): [string, string][] {
  if ('error' in stores)
    return [['broker and result backend', `  ${paint('red', 'cannot be opened:')} ${stores.error}`]];
  const { broker, backend, queues } = stores;
  const features = (map: object) => Object.entries(map).map(([name, value]) => [name, String(value)] as const);
  return [
    ['broker', pairs([['url', broker.url], ...features(broker.features)], '  ')],
    ['result backend', backend ? pairs([['url', backend.url], ...features(backend.features)], '  ') : '  none'],
    ['queues', queues.length > 0 ? queueTable(queues).replace(/^/gm, '  ') : '  none'],
  ];
}
