import type { JoinPart } from '../../contracts/backend.ts';
import { DecodeError } from '../../errors.ts';
import { encodeJson } from '../../wire/json.ts';
import { decodeResult, encodeResult } from '../../wire/result.ts';
import { acceptList, decodeBody, encodeBody } from '../../wire/serializers.ts';

/**
 * What Celery keeps of a finished member of a chord: `[1, task id, state, result]` in the result serializer (wire SPEC
 * 6.3). Takes the member's meta map, of whichever serializer that is.
 */
export function toMember(document: string | Uint8Array): string | Uint8Array {
  const serializer = serializerOf(document);
  const { taskId, state, result } = decodeResult(document, { serializer });
  if (serializer !== 'json') return encodeBody(serializer, [1, taskId, state, result]).body;
  // With Python's blanks: what both sides write of one member shall be one entry of the set where it can.
  return `[1, ${JSON.stringify(taskId)}, ${JSON.stringify(state)}, ${encodeJson(result, { root: 'result' })}]`;
}

/** The part that a member is; its document tells id, state and result. Throws {@link DecodeError} for anything else. */
export function toPart(member: Uint8Array, index: number): JoinPart {
  const serializer = serializerOf(member);
  const accept = acceptList([serializer]);
  const [contentType = ''] = accept.contentTypes;
  const value = decodeBody(member, contentType, 'utf-8', accept);
  const [, taskId, state, result] = Array.isArray(value) ? value : [];
  if (typeof taskId !== 'string' || typeof state !== 'string') {
    throw new DecodeError(
      `Bad member of a chord: expected [1, task id, state, result], got ${String(Buffer.from(member)).slice(0, 80)}. ` +
        'Check that all workers use the same result serializer.',
    );
  }
  return { key: taskId, index, document: encodeResult({ taskId, state, result, children: [] }, { serializer }) };
}

/** In which serializer a meta map or a member was written. */
function serializerOf(document: string | Uint8Array): string {
  const first = typeof document === 'string' ? document.charCodeAt(0) : (document[0] ?? 0);
  if (first === 0x7b || first === 0x5b) return 'json';
  if (first < 0x80) return 'yaml';
  // A pickle begins with its version, where a map or list of msgpack would be empty.
  return first === 0x80 ? 'pickle' : 'msgpack';
}

/** Lua: `task_of(member)` gives the task id of an entry of `.j`, as far as it is known how it was written. */
export const LUA_TASK_OF = `
local function task_of(member)
  local first, _, third, fourth = member:byte(1, 4)
  if first == 91 then return member:match('^%[1,%s*"([^"]*)"') end
  if first == 45 then return member:match('^%- 1\\n%- "?([^"\\n]*)"?\\n') end
  if first ~= 148 then return nil end
  if third >= 160 and third <= 191 then return member:sub(4, third - 157) end
  if third == 217 then return member:sub(5, 4 + fourth) end
end
`;
