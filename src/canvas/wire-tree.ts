import { ConfigError, DecodeError } from '../errors.ts';
import { saferepr } from '../wire/saferepr.ts';
import { isMap, readSignature } from '../wire/task-fields.ts';
import type { WireSignature } from '../wire/task-message.ts';

/** What a signature is made of, by Celery's `subtask_type`. */
export type CanvasKind = 'task' | 'chain' | 'group' | 'chord';

export type WireOptions = Readonly<Record<string, unknown>>;

const kinds: ReadonlySet<string> = new Set(['chain', 'group', 'chord']);

/** @throws DecodeError for a `subtask_type` that is none of Celery's */
export function kindOf({ subtask_type: type, task }: WireSignature): CanvasKind {
  if (type === null) return 'task';
  if (kinds.has(type)) return type as CanvasKind;
  throw new DecodeError(
    `Bad signature ${saferepr(task, 80)}: expected subtask_type to be null, chain, group or chord, got ${saferepr(type, 80)}. Check what its sender sends.`,
  );
}

/** The signatures in a chain or a group, in order. */
export function tasksOf({ task, kwargs }: WireSignature): readonly WireSignature[] {
  return listOf(kwargs.tasks, `${task}.kwargs.tasks`);
}

/** The header of a chord, as a group: Celery writes a group or a list. */
export function headerOf({ kwargs }: WireSignature): WireSignature {
  const { header } = kwargs;
  if (Array.isArray(header)) return groupOf(listOf(header, 'celery.chord.kwargs.header'));
  const one = readSignature(header, 'celery.chord.kwargs.header');
  if (kindOf(one) === 'group') return one;
  // Celery takes the steps of a chain for the header.
  return groupOf(kindOf(one) === 'chain' ? tasksOf(one) : [one]);
}

export function bodyOf({ kwargs }: WireSignature): WireSignature {
  return readSignature(kwargs.body, 'celery.chord.kwargs.body');
}

export function taskOf(task: string, kwargs: WireOptions, options: WireOptions = {}): WireSignature {
  return { task, args: [], kwargs, options, subtask_type: null, immutable: false };
}

export function chainOf(tasks: readonly WireSignature[], options: WireOptions = {}): WireSignature {
  return { ...taskOf('celery.chain', { tasks }, options), subtask_type: 'chain' };
}

export function groupOf(tasks: readonly WireSignature[], options: WireOptions = {}): WireSignature {
  return { ...taskOf('celery.group', { tasks }, options), subtask_type: 'group' };
}

export function chordOf(
  header: WireSignature | readonly WireSignature[],
  body: WireSignature,
  options: WireOptions = {},
): WireSignature {
  return { ...taskOf('celery.chord', { kwargs: {}, header, body }, options), subtask_type: 'chord' };
}

/** Steps with groups that have a step after them made into chords. */
export function upgraded(steps: readonly WireSignature[]): WireSignature[] {
  const done: WireSignature[] = [];
  for (const step of steps.toReversed()) {
    const next = done[0];
    if (next && kindOf(step) === 'group') done.splice(0, 1, chordOf(step, next));
    else done.unshift(step);
  }
  return done;
}

/** The same signature with more options; those of a list (`link`, `link_error`) are added to, the others replaced. */
export function withOptions(signature: WireSignature, more: WireOptions): WireSignature {
  return { ...signature, options: merged(signature.options, more) };
}

/** Options with more; `undefined` and Celery's null say nothing. Stamps add up, and those that were there stay. */
export function merged(options: WireOptions, more: WireOptions): WireOptions {
  const all: Record<string, unknown> = { ...options };
  const stamps = namesOfStamps(options);
  for (const [name, value] of Object.entries(more)) {
    if (value === undefined || value === null || stamps.includes(name)) continue;
    if (name === 'link' || name === 'link_error') all[name] = [...signaturesIn(all, name), ...[value].flat()];
    else if (name === 'stamped_headers') all[name] = [...new Set([...stamps, ...namesOfStamps(more)])];
    else all[name] = value;
  }
  return all;
}

/** Each stamp is an option of its own; which of them are stamps, is another one. */
export function namesOfStamps({ stamped_headers: names }: WireOptions): readonly string[] {
  return Array.isArray(names) ? names.map(String) : [];
}

/** The signatures in an option such as `link`. */
export function signaturesIn(options: WireOptions, name: 'link' | 'link_error' | 'chain'): readonly WireSignature[] {
  const value = options[name];
  if (value === undefined || value === null) return [];
  return listOf(Array.isArray(value) ? value : [value], name);
}

export function signatureIn(options: WireOptions, name: 'chord'): WireSignature | undefined {
  const value = options[name];
  return value === undefined || value === null ? undefined : readSignature(value, name);
}

export function textIn(options: WireOptions, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function listOf(value: unknown, name: string): readonly WireSignature[] {
  if (Array.isArray(value)) return value.map((item, index) => readSignature(item, `${name}[${index}]`));
  throw new DecodeError(`Bad signature: expected ${name} to be a list of signatures, got ${saferepr(value, 80)}.`);
}

/** How deep a signature may be. */
const maxDepth = 500;

/** @throws ConfigError for a signature that contains itself, DecodeError for a part that is none */
export function checkDepth(wire: WireSignature, depth = 0): void {
  if (depth > maxDepth) throw new ConfigError(`a signature contains itself, or is more than ${maxDepth} levels deep`);
  for (const part of partsIn(wire)) checkDepth(part, depth + 1);
}

function partsIn(wire: WireSignature): readonly WireSignature[] {
  const options: WireOptions = wire.options;
  const links = [...signaturesIn(options, 'link'), ...signaturesIn(options, 'link_error')];
  switch (kindOf(wire)) {
    case 'task':
      return links;
    case 'chord':
      return [headerOf(wire), bodyOf(wire), ...links];
    default:
      return [...tasksOf(wire), ...links];
  }
}

export { isMap };
