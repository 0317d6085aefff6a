import { DecodeError } from '../errors.ts';
import { decodeDocument, encodeDocument } from './document.ts';
import { saferepr } from './saferepr.ts';
import { isMap } from './task-fields.ts';

/** A task that was sent, or a group of them: what Celery calls a result, as a tree. */
export interface ResultNode {
  readonly id: string;
  /** The task, or group, whose result it continues. */
  readonly parent?: ResultNode;
  /** Present for a group. */
  readonly members?: readonly ResultNode[];
}

/** Celery's `[[id, parent], null]` of a task, and `[[id, parent], [tuples]]` of a group (wire SPEC 6.1). */
export type ResultTuple = readonly [
  head: readonly [id: string, parent: ResultTuple | null],
  members: readonly ResultTuple[] | null,
];

export function toTuple({ id, parent, members }: ResultNode): ResultTuple {
  return [[id, parent ? toTuple(parent) : null], members ? members.map(toTuple) : null];
}

/** Reads a result tuple; `undefined` for what is none. Celery before 3.1 wrote a bare id in place of `[id, parent]`. */
export function fromTuple(value: unknown): ResultNode | undefined {
  if (!Array.isArray(value)) return undefined;
  const [head, rest] = value as unknown[];
  const [id, above] = Array.isArray(head) ? (head as unknown[]) : [head];
  if (typeof id !== 'string') return undefined;
  const parent = fromTuple(above);
  const node = parent ? { id, parent } : { id };
  if (!Array.isArray(rest)) return node;
  return { ...node, members: rest.flatMap((member) => fromTuple(member) ?? []) };
}

/** Ids of all tasks of a tree, those of groups in the order of their members. */
export function taskIdsOf({ id, members }: ResultNode): string[] {
  return members ? members.flatMap(taskIdsOf) : [id];
}

/** Writes a group as `GroupResult.save()` of Celery does, under `celery-taskset-meta-<id>`. */
export function encodeSavedGroup(group: ResultNode, serializer: string): string | Uint8Array {
  return encodeDocument({ result: toTuple(group) }, serializer);
}

/** @throws DecodeError for what is no saved group */
export function decodeSavedGroup(document: string | Uint8Array, serializer: string): ResultNode {
  const saved = decodeDocument(document, serializer);
  const group = isMap(saved) ? fromTuple(saved.result) : undefined;
  if (group?.members) return group;
  throw new DecodeError(
    `Bad saved group: expected a map with a group's tuple as its result, got ${saferepr(saved, 80)}. ` +
      'Check that both sides use the same result serializer.',
  );
}
