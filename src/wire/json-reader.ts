import { DecodeError } from '../errors.ts';

/** How deep values may be nested, both ways: Python's own limit is 1000, less the frames of its worker. */
export const MAX_DEPTH = 900;

/** Python refuses to read longer integers too; turning digits into a BigInt takes quadratic time. */
const MAX_DIGITS = 4300;

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const NAN = /NaN|-?Infinity/y;

/**
 * Keeps JSON.parse away from texts it would refuse or round: bare `NaN` and `Infinity`, and integers of 16 digits or
 * more. May say yes for what is only inside a string; the exact reader is then slower, not wrong.
 */
export function needsExactReader(text: string): boolean {
  return hasLongInteger(text) || text.includes('NaN') || text.includes('Infinity');
}

function hasLongInteger(text: string): boolean {
  // Any 16 characters in a row include one at a multiple of 16, so it is enough to look at those.
  for (let i = 15; i < text.length; i += 16) {
    if (!isDigit(text.charCodeAt(i))) continue;
    let start = i;
    let end = i + 1;
    while (start > 0 && isDigit(text.charCodeAt(start - 1))) start -= 1;
    while (isDigit(text.charCodeAt(end))) end += 1;
    if (end - start >= 16 && text[start - 1] !== '.') return true;
    // On behind this run, however long it was.
    i = Math.max(i, end - 1);
  }
  return false;
}

/** Refuses texts nested so deeply that walking their values would overflow the stack. Throws {@link DecodeError}. */
export function checkDepth(text: string): void {
  // A bracket takes two characters, so most messages are too short to be too deep.
  if (text.length <= 2 * MAX_DEPTH) return;
  let depth = 0;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code === 0x22) {
      i = endOfString(text, i);
      if (i < 0) return;
    } else if (code === 0x5b || code === 0x7b) {
      depth += 1;
      if (depth > MAX_DEPTH) throw fault(text, i, `nesting of at most ${MAX_DEPTH} levels`);
    } else if (code === 0x5d || code === 0x7d) {
      depth -= 1;
    }
  }
}

/** Reads JSON with Python's additions, slower than JSON.parse but exactly. Throws {@link DecodeError}. */
export function readJson(text: string): unknown {
  const cursor: Cursor = { text, at: 0, depth: 0 };
  const value = readValue(cursor);
  if (skipSpace(cursor) < text.length) throw fault(text, cursor.at, 'the end of the text');
  return value;
}

interface Cursor {
  readonly text: string;
  at: number;
  depth: number;
}

function readValue(cursor: Cursor): unknown {
  const { text } = cursor;
  const at = skipSpace(cursor);
  switch (text[at]) {
    case '{':
      return nested(cursor, readObject);
    case '[':
      return nested(cursor, readArray);
    case '"':
      return readString(cursor);
    case 't':
      return readWord(cursor, 'true', true);
    case 'f':
      return readWord(cursor, 'false', false);
    case 'n':
      return readWord(cursor, 'null', null);
    default:
      return readNumber(cursor);
  }
}

function nested(cursor: Cursor, read: (cursor: Cursor) => unknown): unknown {
  cursor.depth += 1;
  if (cursor.depth > MAX_DEPTH) throw fault(cursor.text, cursor.at, `nesting of at most ${MAX_DEPTH} levels`);
  cursor.at += 1;
  const value = read(cursor);
  cursor.depth -= 1;
  return value;
}

function readArray(cursor: Cursor): unknown[] {
  const items: unknown[] = [];
  if (take(cursor, ']')) return items;
  do items.push(readValue(cursor));
  while (take(cursor, ','));
  expect(cursor, ']', '"," or "]"');
  return items;
}

function readObject(cursor: Cursor): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  if (take(cursor, '}')) return object;
  do {
    if (cursor.text[skipSpace(cursor)] !== '"') throw fault(cursor.text, cursor.at, 'a key in double quotes');
    const key = readString(cursor);
    expect(cursor, ':', '":" after the key');
    setOwn(object, key, readValue(cursor));
  } while (take(cursor, ','));
  expect(cursor, '}', '"," or "}"');
  return object;
}

/** Sets a property that came from outside; `__proto__` becomes an ordinary one and does not touch the prototype. */
export function setOwn(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__') {
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[key] = value;
  }
}

function readString(cursor: Cursor): string {
  const { text, at } = cursor;
  const end = endOfString(text, at);
  if (end < 0) throw fault(text, at, 'a closing double quote');
  cursor.at = end + 1;
  try {
    return JSON.parse(text.slice(at, end + 1)) as string;
  } catch {
    throw fault(text, at, 'a string with valid escapes and no control characters');
  }
}

/** Index of the double quote that ends the string begun at `start`; -1 if none does. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slash = end - 1;
    while (text[slash] === '\\') slash -= 1;
    if ((end - slash) % 2 === 1) return end;
  }
  return -1;
}

function readWord(cursor: Cursor, word: string, value: boolean | null): boolean | null {
  if (!cursor.text.startsWith(word, cursor.at)) throw fault(cursor.text, cursor.at, 'a JSON value');
  cursor.at += word.length;
  return value;
}

function readNumber(cursor: Cursor): number | bigint {
  const { text, at } = cursor;
  NAN.lastIndex = at;
  const special = NAN.exec(text);
  if (special !== null) {
    cursor.at = NAN.lastIndex;
    return Number(special[0]);
  }
  NUMBER.lastIndex = at;
  const match = NUMBER.exec(text);
  if (match === null) throw fault(text, at, 'a JSON value');
  cursor.at = NUMBER.lastIndex;
  const number = Number(match[0]);
  const isInteger = match[1] === undefined && match[2] === undefined;
  if (!isInteger || Number.isSafeInteger(number)) return number;
  if (match[0].length > MAX_DIGITS) throw fault(text, at, `an integer of at most ${MAX_DIGITS} digits`);
  return BigInt(match[0]);
}

function take(cursor: Cursor, sign: string): boolean {
  if (cursor.text[skipSpace(cursor)] !== sign) return false;
  cursor.at += 1;
  return true;
}

function expect(cursor: Cursor, sign: string, expected: string): void {
  if (!take(cursor, sign)) throw fault(cursor.text, cursor.at, expected);
}

function skipSpace(cursor: Cursor): number {
  while (isSpace(cursor.text.charCodeAt(cursor.at))) cursor.at += 1;
  return cursor.at;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function fault(text: string, at: number, expected: string): DecodeError {
  const got = at >= text.length ? 'the text ends' : `got ${JSON.stringify(text.slice(at, at + 60))}`;
  return new DecodeError(`Malformed JSON: expected ${expected} at position ${at}, ${got}.`);
}
