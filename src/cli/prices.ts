import { readFileSync } from 'node:fs';
import { ConfigError } from '../errors.ts';
import { nearest } from '../util/nearest.ts';

/** What something costs. */
export interface Price {
  readonly what: string;
  /** For so many units. */
  readonly dollars: number;
  readonly per: number;
  /** Units of a month that cost nothing. */
  readonly free?: number;
}

/** Prices by key, with where and when they held. */
export interface PriceTable {
  readonly region: string;
  readonly asOf: string;
  readonly items: Readonly<Record<string, Price>>;
}

/**
 * List prices. They change, and differ by region: `--prices FILE` of `lovage doctor` and `lovage autoscale simulate` takes a table of your own. Those of
 * servers are for comparison: on-demand, one node, without traffic and backups.
 */
export const listPrices: PriceTable = {
  region: 'us-east-1',
  asOf: '2026-06',
  items: {
    'sqs.standard': { what: 'requests to standard queues, for each 64 KB', dollars: 0.4, per: 1e6, free: 1e6 },
    'sqs.fifo': { what: 'requests to FIFO queues, for each 64 KB', dollars: 0.5, per: 1e6, free: 1e6 },
    'sqs.fair': { what: 'surcharge for requests with a group on standard queues', dollars: 0.1, per: 1e6 },
    'dynamodb.write': { what: 'writes on demand, for each 1 KB', dollars: 0.625, per: 1e6 },
    'dynamodb.read': { what: 'strong reads on demand, for each 4 KB', dollars: 0.125, per: 1e6 },
    'dynamodb.storage': { what: 'GB of items in a month', dollars: 0.25, per: 1, free: 25 },
    's3.put': { what: 'PUT, LIST and POST requests', dollars: 0.005, per: 1000 },
    's3.get': { what: 'GET requests', dollars: 0.0004, per: 1000 },
    's3.storage': { what: 'GB of objects in a month', dollars: 0.023, per: 1 },
    'fargate.vcpu': { what: 'hours of a vCPU on Fargate, Linux on x86', dollars: 0.04048, per: 1 },
    'fargate.memory': { what: 'hours of a GB of memory on Fargate', dollars: 0.004445, per: 1 },
    'elasticache.t4g.micro': { what: 'hours of a cache.t4g.micro node (0.5 GB)', dollars: 0.016, per: 1 },
    'elasticache.t4g.small': { what: 'hours of a cache.t4g.small node (1.37 GB)', dollars: 0.032, per: 1 },
    'elasticache.t4g.medium': { what: 'hours of a cache.t4g.medium node (3.09 GB)', dollars: 0.065, per: 1 },
  },
};

/**
 * Reads a table of prices; what it does not name keeps its list price.
 * @throws ConfigError for a file that is none, an item that does not exist, and a wrong number
 */
export function readPrices(path: string): PriceTable {
  const where = `--prices ${path}`;
  let table: unknown;
  try {
    table = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${where}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { region, asOf, items } = Object(table) as Record<string, unknown>;
  if (typeof items !== 'object' || items === null) {
    throw new ConfigError(
      `${where}: expected { "region", "asOf", "items": { "sqs.standard": { "dollars": 0.4, "per": 1000000, "free": 1000000 } } }; \`lovage doctor --json\` prints the table in use`,
    );
  }
  const merged: Record<string, Price> = { ...listPrices.items };
  for (const [key, value] of Object.entries(items)) merged[key] = readPrice(key, value, where);
  return { region: text(region, listPrices.region), asOf: text(asOf, listPrices.asOf), items: merged };
}

function readPrice(key: string, value: unknown, where: string): Price {
  const known = listPrices.items[key];
  if (!known) {
    const keys = Object.keys(listPrices.items);
    const close = nearest(key, keys);
    throw new ConfigError(
      `${where}: there is no item '${key}'; ${close ? `did you mean '${close}'?` : keys.join(', ')}`,
    );
  }
  const given = Object(value) as Record<string, unknown>;
  const price = { ...known, ...given };
  for (const name of ['dollars', 'per', 'free'] as const) {
    const number = price[name] ?? 0;
    if (typeof number === 'number' && Number.isFinite(number) && number >= (name === 'per' ? Number.MIN_VALUE : 0))
      continue;
    throw new ConfigError(
      `${where}: ${key}.${name}: expected a number ${name === 'per' ? 'above 0' : 'from 0'}, got ${JSON.stringify(number)}`,
    );
  }
  return price;
}

function text(value: unknown, fallback: string): string {
  return typeof value === 'string' ? value : fallback;
}
