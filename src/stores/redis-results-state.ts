import { DecodeError } from '../errors.ts';
import { decodeJson } from '../wire/json.ts';

/*
 * What a document says of the state of its task, in whatever serializer it was written. Celery puts the state first in
 * json and msgpack, and sorts the keys of yaml; so it is found without reading the rest. The two halves of this file
 * say the same, to Node and to Redis.
 */

/** Text or bytes, whichever a meta map was before it went to Redis: maps of msgpack (and pickles) begin beyond ASCII. */
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

/** Lua: `finished(document)` gives `SUCCESS`, `FAILURE` or `REVOKED` where that is the state of a stored document. */
export const LUA_FINISHED = `
local FINISHED = { SUCCESS = true, FAILURE = true, REVOKED = true }

local function finished(document)
  local first = document:byte() or 0
  local state
  if first == 123 then
    state = document:match('^{%s*"status"%s*:%s*"([^"]*)"')
    if not state then
      local ok, meta = pcall(cjson.decode, document)
      state = ok and type(meta) == 'table' and meta.status
    end
  elseif first < 128 then
    state = ('\\n' .. document):match('\\n"?status"?: "?(%u+)"?\\n')
  else
    state = document:sub(1, 64):match('^.-status\\148?\\140?[\\7\\167](%u%u%u%u%u%u%u)')
  end
  return FINISHED[state] and state
end
`;
