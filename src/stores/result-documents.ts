import { isFinished, type ResultRecord } from '../contracts/backend.ts';
import { DecodeError } from '../errors.ts';
import { decodeJson } from '../wire/json.ts';

/*
 * What stores that keep a document as bytes need to know of it: what it was before, and which state it tells, in whatever
 * serializer it was written. Celery puts the state first in json and msgpack, and sorts the keys of yaml; so it is found
 * without reading the rest. `redis-results-state.ts` says the same to Redis.
 */

/** Text or bytes, whichever a meta map was before it was stored: maps of msgpack (and pickles) begin beyond ASCII. */
export function asDocument(stored: Buffer): string | Uint8Array {
  return (stored[0] ?? 0) < 0x80 ? stored.toString('utf8') : stored;
}

/** The state that a meta map tells; `undefined` where it tells none. */
export function stateOf(document: string | Uint8Array): string | undefined {
  if (typeof document !== 'string') return binaryState(document);
  return document.startsWith('{') ? jsonState(document) : yamlState(document);
}

function jsonState(text: string): string | undefined {
  const [, state] = /^\{\s*"status"\s*:\s*"([^"\\]*)"/.exec(text) ?? [];
  if (state !== undefined) return state;
  try {
    // Written by somebody else than Celery or Lovage, or a state that needs escapes.
    const { status } = Object(decodeJson(text));
    return typeof status === 'string' ? status : undefined;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

function yamlState(text: string): string | undefined {
  // Only the keys of the map itself stand at the beginning of a line.
  const [, plain, single, double] =
    /(?:^|\n)(?:status|"status"): (?:([^'"\n]+)|'((?:[^'\n]|'')*)'|("(?:[^"\\\n]|\\.)*"))(?:\n|$)/.exec(text) ?? [];
  if (single !== undefined) return single.replaceAll("''", "'");
  if (double === undefined) return plain;
  try {
    return JSON.parse(double);
  } catch {
    return undefined;
  }
}

function binaryState(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 320));
  // A text of msgpack has its length in its first byte or behind 0xd9; one of pickle behind 0x8c.
  const found = /^.{1,24}?status(?:([\xa0-\xbf])|\x94?[\xd9\x8c](.))/s.exec(head.toString('latin1'));
  if (!found) return undefined;
  const [{ length: start }, short, long = ''] = found;
  const length = short === undefined ? long.charCodeAt(0) : short.charCodeAt(0) & 0x1f;
  return head.toString('utf8', start, start + length);
}

/**
 * A record of what is stored for a task. What is no document counts as failed: who waits for the task gets the error of
 * reading it, instead of waiting for ever.
 */
export function toRecord(taskId: string, stored: Buffer): ResultRecord {
  const document = asDocument(stored);
  return { taskId, state: stateOf(document) ?? 'FAILURE', document };
}

/** The overwrite law of `ResultBackend.storeMany`. */
export function mayReplace(later: string, earlier: string): boolean {
  return earlier !== 'SUCCESS' && (isFinished(later) || !isFinished(earlier));
}

/** Of several records of one task in a call the one that stays, with where in the call its task stands. */
export function lastOfEach(records: readonly ResultRecord[]): { record: ResultRecord; indexes: number[] }[] {
  const byTask = new Map<string, { record: ResultRecord; indexes: number[] }>();
  records.forEach((record, index) => {
    const known = byTask.get(record.taskId);
    if (!known) byTask.set(record.taskId, { record, indexes: [index] });
    else {
      known.indexes.push(index);
      if (mayReplace(record.state, known.record.state)) known.record = record;
    }
  });
  return [...byTask.values()];
}
