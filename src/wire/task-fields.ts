import { DecodeError } from '../errors.ts';
import { parseIsoTime } from './iso-time.ts';
import type { WireProperties } from './message.ts';
import { RESERVED_HEADERS } from './protocol-headers.ts';
import { saferepr } from './saferepr.ts';
import type { TaskMessage, WireSignature } from './task-message.ts';

/** A map as it came over the wire. */
export type Fields = Readonly<Record<string, unknown>>;

/** The parts of a task message, wherever its protocol keeps them. */
export interface TaskParts {
  /** Celery's header fields. */
  readonly fields: Fields;
  readonly args: unknown;
  readonly kwargs: unknown;
  /** Links, chain and chord. Keys that are not known are ignored. */
  readonly embed: unknown;
  /** The message's headers, from which the sender's own are taken. */
  readonly custom: Fields;
  readonly properties: WireProperties;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Checks the parts of a task message and gives them Lovage's spelling. Throws {@link DecodeError}. */
export function readTask(parts: TaskParts): TaskMessage {
  const { fields, properties } = parts;
  const id = readName(fields, 'id');
  const message: Mutable<TaskMessage> = {
    task: readName(fields, 'task'),
    id,
    args: readList(parts.args, 'args'),
    kwargs: readMap(parts.kwargs, 'kwargs'),
    lang: optionalText(fields.lang) ?? 'py',
    retries: optionalNumber(fields.retries, 'retries') ?? 0,
    rootId: optionalText(fields.root_id) ?? id,
    ignoreResult: fields.ignore_result === true,
    replacedTaskNesting: readNesting(fields, properties),
    headers: customHeaders(parts.custom),
    replyTo: optionalText(properties.reply_to) ?? '',
    priority: typeof properties.priority === 'number' ? properties.priority : 0,
  };
  readTimes(message, fields);
  readOrigin(message, fields);
  readStamps(message, fields);
  readEmbed(message, readMap(parts.embed, 'embed'));
  return message;
}

/** Tells maps from lists, null and other values. */
export function isMap(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readTimes(message: Mutable<TaskMessage>, fields: Fields): void {
  const { eta, expires, timelimit } = fields;
  if (eta != null) message.eta = readInstant(eta, 'eta');
  if (expires != null) message.expires = readInstant(expires, 'expires');
  if (timelimit == null) return;
  if (!Array.isArray(timelimit)) throw bad('timelimit', '[hard, soft]', timelimit);
  const hard = optionalNumber(timelimit[0], 'timelimit[0]');
  const soft = optionalNumber(timelimit[1], 'timelimit[1]');
  if (hard !== undefined) message.timeLimit = hard;
  if (soft !== undefined) message.softTimeLimit = soft;
}

function readOrigin(message: Mutable<TaskMessage>, fields: Fields): void {
  const parentId = optionalText(fields.parent_id);
  if (parentId !== undefined) message.parentId = parentId;
  const groupId = optionalText(fields.group);
  if (groupId !== undefined) message.groupId = groupId;
  const groupIndex = optionalNumber(fields.group_index, 'group_index');
  if (groupIndex !== undefined) message.groupIndex = groupIndex;
  const shadow = optionalText(fields.shadow);
  if (shadow !== undefined) message.shadow = shadow;
  const argsRepr = optionalText(fields.argsrepr);
  if (argsRepr !== undefined) message.argsRepr = argsRepr;
  const kwargsRepr = optionalText(fields.kwargsrepr);
  if (kwargsRepr !== undefined) message.kwargsRepr = kwargsRepr;
  const origin = optionalText(fields.origin);
  if (origin !== undefined) message.origin = origin;
}

function readStamps(message: Mutable<TaskMessage>, fields: Fields): void {
  if (Array.isArray(fields.stamped_headers)) message.stampedHeaders = fields.stamped_headers.map(String);
  if (isMap(fields.stamps)) message.stamps = fields.stamps;
}

function readEmbed(message: Mutable<TaskMessage>, embed: Fields): void {
  const { callbacks, errbacks, chain, chord } = embed;
  if (callbacks != null) message.link = readSignatures(callbacks, 'callbacks');
  if (errbacks != null) message.linkError = readSignatures(errbacks, 'errbacks');
  if (chain != null) message.chain = readSignatures(chain, 'chain');
  if (chord != null) message.chord = readSignature(chord, 'chord');
}

function readSignatures(value: unknown, name: string): WireSignature[] {
  // Celery takes a single signature for a list of one.
  if (isMap(value)) return [readSignature(value, name)];
  if (!Array.isArray(value)) throw bad(name, 'a list of signatures', value);
  return value.map((item, index) => readSignature(item, `${name}[${index}]`));
}

/** Checks a signature that came over the wire; `name` says where it stands. @throws DecodeError */
export function readSignature(value: unknown, name: string): WireSignature {
  if (!isMap(value) || typeof value.task !== 'string') throw bad(name, 'a signature (a map with "task")', value);
  return {
    ...value,
    task: value.task,
    args: readList(value.args, `${name}.args`),
    kwargs: readMap(value.kwargs, `${name}.kwargs`),
    options: readMap(value.options, `${name}.options`),
    subtask_type: optionalText(value.subtask_type) ?? null,
    immutable: value.immutable === true,
  };
}

function readName(fields: Fields, name: 'id' | 'task'): string {
  const value = fields[name];
  if (typeof value === 'string' && value !== '') return value;
  throw bad(name, 'a text that is not empty', value);
}

function readList(value: unknown, name: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (value === undefined || value === null) return [];
  throw bad(name, 'a list', value);
}

function readMap(value: unknown, name: string): Fields {
  if (isMap(value)) return value;
  if (value === undefined || value === null) return {};
  throw bad(name, 'a map', value);
}

function readInstant(value: unknown, name: string): number {
  const epochMs = typeof value === 'string' ? parseIsoTime(value) : undefined;
  if (epochMs === undefined) throw bad(name, 'an ISO time such as 2031-01-02T03:04:05+00:00, or null', value);
  return epochMs;
}

/** Celery 5.2 keeps the depth in the properties, and sends it for replaced and retried tasks only. */
function readNesting(fields: Fields, properties: WireProperties): number {
  const { replaced_task_nesting: nesting = properties.replaced_task_nesting } = fields;
  return optionalNumber(nesting, 'replaced_task_nesting') ?? 0;
}

function optionalText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function optionalNumber(value: unknown, name: string): number | undefined {
  if (typeof value === 'number') return value;
  if (value === undefined || value === null) return undefined;
  throw bad(name, 'a number or null', value);
}

function customHeaders(headers: Fields): Fields {
  const custom: Record<string, unknown> = {};
  for (const name in headers) {
    if (!RESERVED_HEADERS.has(name)) custom[name] = headers[name];
  }
  return custom;
}

function bad(name: string, expected: string, got: unknown): DecodeError {
  return new DecodeError(
    `Bad task message: expected ${name} to be ${expected}, got ${saferepr(got, 80)}. Check what its sender sends.`,
  );
}
