import type { CallOptions, Sendable } from '../app/tasks/task-options.ts';
import { ConfigError } from '../errors.ts';
import { formatIsoTime, parseIsoTime } from '../wire/iso-time.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { stampsOf } from './stamps.ts';
import { checkDepth, type WireOptions } from './wire-tree.ts';

/** What stands for an option of ours on the wire, where only the name differs. */
const sameValues = {
  taskId: 'task_id',
  countdown: 'countdown',
  queue: 'queue',
  priority: 'priority',
  headers: 'headers',
  ignoreResult: 'ignore_result',
  serializer: 'serializer',
  compression: 'compression',
  shadow: 'shadow',
  timeLimit: 'time_limit',
  softTimeLimit: 'soft_time_limit',
  argsRepr: 'argsrepr',
  kwargsRepr: 'kwargsrepr',
} as const satisfies Partial<Record<keyof CallOptions, string>>;

/** Options under Celery's names, as they stand in a signature. */
export function toWireOptions(options: CallOptions): Record<string, unknown> {
  const { eta, expires, link, linkError, stamps } = options;
  for (const name of ['signal', 'retry', 'retryPolicy'] as const)
    if (options[name] !== undefined)
      throw new ConfigError(`a signature cannot carry the option '${name}': it is not part of a message`);
  const wire: Record<string, unknown> = {};
  for (const [name, wireName] of Object.entries(sameValues)) {
    const value = options[name as keyof typeof sameValues];
    if (value !== undefined) wire[wireName] = value;
  }
  if (eta !== undefined) wire.eta = isoTime(eta);
  if (expires !== undefined) wire.expires = typeof expires === 'number' ? expires : isoTime(expires);
  if (link !== undefined) wire.link = wireSignatures(link);
  if (linkError !== undefined) wire.link_error = wireSignatures(linkError);
  if (stamps !== undefined) Object.assign(wire, stamps, { stamped_headers: Object.keys(stamps) });
  return wire;
}

/**
 * Signatures as they travel.
 * @throws ConfigError for one that contains itself
 */
export function wireSignatures(value: Sendable | readonly Sendable[]): WireSignature[] {
  return [value].flat().map((one) => {
    const wire = one.toWire();
    checkDepth(wire);
    return wire;
  });
}

function isoTime(value: Date | number): string {
  const text = formatIsoTime(Number(value));
  if (text !== undefined) return text;
  throw new ConfigError(`expected an instant in the years 1 to 9999, got ${String(value)}`);
}

const kinds: Partial<Record<keyof typeof sameValues, string>> = {
  countdown: 'number',
  priority: 'number',
  timeLimit: 'number',
  softTimeLimit: 'number',
  ignoreResult: 'boolean',
  headers: 'object',
};

/** Call options from Celery's, leaving out what means nothing here and what is written into messages as it is (links, chains, chords). */
export function fromWireOptions(wire: WireOptions): CallOptions {
  const options: Record<string, unknown> = {};
  for (const [name, wireName] of Object.entries(sameValues)) {
    const value = wire[wireName];
    const kind = kinds[name as keyof typeof sameValues] ?? 'string';
    if (value !== null && value !== '' && typeof value === kind) options[name] = value;
  }
  if (typeof wire.routing_key === 'string' && wire.routing_key !== '') options.queue ??= wire.routing_key;
  const eta = instant(wire.eta);
  if (eta !== undefined) {
    options.eta = eta;
    delete options.countdown;
  }
  const expires = typeof wire.expires === 'number' ? wire.expires : instant(wire.expires);
  if (expires !== undefined) options.expires = expires;
  const stamps = stampsOf(wire);
  if (stamps) options.stamps = stamps;
  return options as CallOptions;
}

function instant(value: unknown): Date | undefined {
  if (value instanceof Date) return value;
  const epochMs = typeof value === 'string' ? parseIsoTime(value) : undefined;
  return epochMs === undefined ? undefined : new Date(epochMs);
}

/** The names of the options that {@link fromWireOptions} reads. */
const known = new Set<string>([...Object.values(sameValues), 'eta', 'expires', 'link', 'link_error']);

/** What a signature off the wire has of options beyond ours, to be written again as it came. */
export function foreignOptions(wire: WireOptions): Record<string, unknown> {
  return Object.fromEntries(Object.entries(wire).filter(([name]) => !known.has(name)));
}
