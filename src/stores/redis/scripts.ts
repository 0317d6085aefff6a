import { randomBytes } from 'node:crypto';
import type { RedisLayout } from './layout.ts';
import { PUBLISH_ONCE, TAKE_PARKED } from './scripts-moving.ts';
import { COMMON, HELD, LETTERS, PARK, RESTORE, TEXT } from './scripts-parts.ts';
import { RedisScript } from './store.ts';

/** Where a key of another type stands in the way of messages, they are tried again after this. */
export const CLOSED_MS = 1000;

/** Ends the error of such a key. */
export const NO_LIST = ' is no list';

/** Characters of the name of a batch: 9 random bytes as base64. */
const BATCH_NAME_LENGTH = 12;

/** A name for the messages that one receive will take. */
export function newBatchName(): string {
  return randomBytes((BATCH_NAME_LENGTH / 4) * 3).toString('base64url');
}

/** The key under which a message of a batch is held; `place` counts from 1. The scripts write it the same way. */
export function keyIn(batch: string, place: number): string {
  return `${batch}-${String(place).padStart(4, '0')}`;
}

/** What the scripts take for granted, besides the layout. */
export interface ScriptSettings {
  readonly visibilityMs: number;
  /** Most messages that one call gives back or moves. */
  readonly restoreLimit: number;
  /** Most messages that one call takes. */
  readonly maxBatch: number;
  /** Most bytes of envelopes that one call takes, unless its first message alone has more. */
  readonly maxBytes: number;
}

/** The steps that must happen whole or not at all. */
export interface RedisScripts {
  /** max, lease, batch, sweep, queues... -> ms after which to look again (or '' where nothing tells), [list, how many, ...], [envelopes] */
  readonly receive: RedisScript;
  /** keys... -> positions of those that are lost */
  readonly ack: RedisScript;
  /** what, then key, list, extra of each message -> positions of those that are lost */
  readonly settle: RedisScript;
  /** lease, keys... -> positions of those that are lost */
  readonly extend: RedisScript;
  /** delay, list, envelope of each message */
  readonly park: RedisScript;
  /** queues... -> ready, in flight, delayed, dead, known of each */
  readonly count: RedisScript;
  /** queue -> how many messages there were */
  readonly purge: RedisScript;
  /** what, ids... -> how many there were */
  readonly letters: RedisScript;
  /** mark, ttl, then delay, list, envelope of each message -> 1, or 0 where the mark was there */
  readonly publishOnce: RedisScript;
  /** queue, member of each -> positions of those that are not parked */
  readonly takeParked: RedisScript;
}

/** The scripts for one layout. Its names are part of their text, so a script is sent and parsed but once. */
export function redisScripts(layout: RedisLayout, settings: ScriptSettings): RedisScripts {
  const constants = `
local P, SEP = ${quote(layout.prefix)}, ${quote(layout.sep)}
local STEPS = {${layout.steps.join(', ')}}
local UNACKED, INDEX = ${quote(layout.unacked)}, ${quote(layout.unackedIndex)}
local LEASES, BATCHES, DUE = ${['leases', 'batches', 'due'].map((name) => quote(layout.own(name))).join(', ')}
local DELAYED, DEAD = ${quote(layout.own('delayed:'))}, ${quote(layout.own('dead'))}
local QUEUES, BINDING = ${quote(layout.own('queues'))}, ${quote(layout.binding(''))}
local WAKE = ${quote(layout.wakeChannel(''))}
local VISIBILITY, LIMIT = ${settings.visibilityMs}, ${settings.restoreLimit}
local CLOSED_MS, NO_LIST = ${CLOSED_MS}, ${quote(NO_LIST)}
local MAX_BATCH, MAX_BYTES = ${settings.maxBatch}, ${settings.maxBytes}
local BATCH_NAME = ${BATCH_NAME_LENGTH}
`;
  const script = (body: string, ...parts: string[]) =>
    new RedisScript([constants, COMMON, ...parts, body].join('\n').replace(/^ *--.*\n/gm, ''));
  return {
    receive: script(RECEIVE, TEXT, LETTERS, PARK, HELD, RESTORE),
    ack: script(ACK, HELD),
    settle: script(SETTLE, TEXT, LETTERS, PARK, HELD),
    extend: script(EXTEND, HELD),
    park: script(PARK_MANY, PARK),
    count: script(COUNT),
    purge: script(PURGE),
    letters: script(LETTERS_MANY, TEXT),
    publishOnce: script(PUBLISH_ONCE, PARK),
    takeParked: script(TAKE_PARKED),
  };
}

/** A text of any bytes as Lua writes it. */
function quote(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => `\\${String(byte).padStart(3, '0')}`);
  return `"${bytes.join('')}"`;
}

const RECEIVE = `
local max, lease, batch, sweep = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local now = clock()
moveDue(now)
restoreLeases(now)
if sweep == '1' then restoreOthers(now) end

-- What is wrong with these must be known before anything is taken out of its list.
redis.call('HLEN', UNACKED)
redis.call('ZCARD', INDEX)
redis.call('HLEN', BATCHES)

local lists, envelopes, problem = {}, {}, nil
for _, step in ipairs(STEPS) do
  local open = {}
  for i = 5, #ARGV do open[#open + 1] = listOf(ARGV[i], step) end
  while #open > 0 and #envelopes < max do
    local share, full = math.ceil((max - #envelopes) / #open), {}
    for _, list in ipairs(open) do
      local count = math.min(share, max - #envelopes)
      local popped = count > 0 and redis.pcall('RPOP', P .. list, count)
      if popped and popped.err then
        problem = 'WRONGTYPE the key ' .. P .. list .. NO_LIST
        if not string.find(popped.err, 'WRONGTYPE', 1, true) then problem = popped.err end
      elseif popped then
        for _, envelope in ipairs(popped) do
          lists[#lists + 1] = list
          envelopes[#envelopes + 1] = envelope
        end
        if #popped == count then full[#full + 1] = list end
      end
    end
    open = full
  end
end

if #envelopes == 0 and problem then return redis.error_reply(problem) end
-- Where there may be more, it is to be looked for at once.
local next = '0'
if #envelopes < max then
  local due = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
  local ends = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2]
  local first = math.min(tonumber(due) or math.huge, tonumber(ends) or math.huge)
  next = first < math.huge and exact(math.max(0, math.ceil(first - now))) or ''
end

-- What would be too much to carry goes back, the first to be next. The first of all goes out, whatever its size.
local bytes, carried = #(envelopes[1] or ''), 1
while envelopes[carried + 1] and bytes + #envelopes[carried + 1] <= MAX_BYTES do
  carried = carried + 1
  bytes = bytes + #envelopes[carried]
end
for i = #envelopes, carried + 1, -1 do
  redis.call('RPUSH', P .. lists[i], envelopes[i])
  envelopes[i] = nil
  next = '0'
end

local good, keys, records, runs = {}, {}, {}, {}
local since, endings = seenAt(now, lease), {}
for i, envelope in ipairs(envelopes) do
  local list = lists[i]
  -- What is broken further on is found by whoever reads it.
  if string.find(envelope, '^%s*{') then
    if not endings[list] then endings[list] = ending((split(list))) end
    good[#good + 1] = envelope
    local key, n = keyIn(batch, #good), #records
    keys[#good] = key
    records[n + 1], records[n + 2] = key, '[' .. envelope .. endings[list]
    n = #runs
    if runs[n - 1] == list then runs[n] = runs[n] + 1 else runs[n + 1], runs[n + 2] = list, 1 end
  else
    bury(now, list, envelope, 'not a message: expected the JSON object of an envelope', 0)
  end
end
if #good > 0 then
  local index = {}
  -- Backwards: a small sorted set is searched from its beginning.
  for i = #keys, 1, -1 do
    local n = #index
    index[n + 1], index[n + 2] = since, keys[i]
  end
  redis.call('HSET', UNACKED, unpack(records))
  redis.call('ZADD', INDEX, unpack(index))
  redis.call('ZADD', LEASES, exact(now + lease), batch)
  redis.call('HSET', BATCHES, batch, #good)
end
return { next, runs, good }
`;

const ACK = `
local mine, lost = held(ARGV)
if #lost == 0 then
  forget(ARGV)
elseif #mine > 0 then
  local keys = {}
  for i, at in ipairs(mine) do keys[i] = ARGV[at] end
  forget(keys)
end
return lost
`;

const SETTLE = `
local what, given = ARGV[1], {}
for at = 2, #ARGV, 3 do given[#given + 1] = ARGV[at] end
local mine, lost = held(given)
if #mine == 0 then return lost end
mayGrow()
local keys = {}
for i, at in ipairs(mine) do keys[i] = given[at] end

local now, released = clock(), {}
local records = redis.call('HMGET', UNACKED, unpack(keys))
-- Backwards: what comes first is to be next.
for i = #mine, 1, -1 do
  local list, extra = ARGV[3 * mine[i]], ARGV[3 * mine[i] + 1]
  local envelope = records[i] and unwrap(records[i], (split(list)))
  if not envelope then
    lost[#lost + 1] = mine[i] - 1
  elseif what == 'release' then
    local delay = isOpen(list) and tonumber(extra) or math.max(CLOSED_MS, tonumber(extra))
    if delay > 0 then park(list, envelope, now + delay) else add(released, list, envelope) end
  elseif what == 'defer' then
    park(list, asNew(envelope), tonumber(extra))
  else
    local attempt, reason = string.match(extra, '^(%d+) (.*)$')
    bury(now, list, envelope, reason, attempt)
  end
end
forget(keys)
pushAll('RPUSH', released)
if sooner then wake('') end
return lost
`;

const EXTEND = `
local lease, given = tonumber(ARGV[1]), { unpack(ARGV, 2) }
local mine, lost = held(given)
if #mine == 0 then return lost end
mayGrow()
local now, ends, seen = clock(), {}, {}
for i, at in ipairs(mine) do
  ends[2 * i - 1], ends[2 * i] = exact(now + lease), given[at]
  seen[2 * i - 1], seen[2 * i] = seenAt(now, lease), given[at]
end
redis.call('ZADD', LEASES, unpack(ends))
redis.call('ZADD', INDEX, 'XX', unpack(seen))
return lost
`;

const PARK_MANY = `
local now = clock()
for i = 1, #ARGV, 3 do
  -- The fraction keeps the order of one batch.
  park(ARGV[i + 1], ARGV[i + 2], now + tonumber(ARGV[i]) + i / 4096)
end
if sooner then wake('') end
`;

const COUNT = `
local now, inFlight, reply = clock(), {}, {}
local keys = redis.call('ZRANGE', INDEX, 0, -1)
for from = 1, #keys, 100 do
  for _, record in ipairs(redis.call('HMGET', UNACKED, unpack(keys, from, math.min(from + 99, #keys)))) do
    local queue = record and string.match(record, ',%s*"([^"]*)"%]$')
    if queue then inFlight[queue] = (inFlight[queue] or 0) + 1 end
  end
end
for _, queue in ipairs(ARGV) do
  local ready = 0
  for _, step in ipairs(STEPS) do
    -- A key of another type holds no messages.
    local length = redis.pcall('LLEN', P .. listOf(queue, step))
    if type(length) == 'number' then ready = ready + length end
  end
  local due = redis.call('ZCOUNT', DELAYED .. queue, '-inf', now)
  local counts = { ready + due, inFlight[queue] or 0, redis.call('ZCARD', DELAYED .. queue) - due,
    redis.call('ZCARD', DEAD .. ':of:' .. queue) }
  local known = counts[1] + counts[2] + counts[3] + counts[4] > 0 or redis.call('SISMEMBER', QUEUES, queue) == 1
    or redis.call('EXISTS', BINDING .. queue) == 1
  for _, count in ipairs(counts) do reply[#reply + 1] = count end
  reply[#reply + 1] = known and 1 or 0
end
return reply
`;

const PURGE = `
local queue = ARGV[1]
local count = redis.call('ZCARD', DELAYED .. queue)
for _, step in ipairs(STEPS) do
  count = count + redis.call('LLEN', P .. listOf(queue, step))
  redis.call('UNLINK', P .. listOf(queue, step))
end
redis.call('UNLINK', DELAYED .. queue)
redis.call('ZREM', DUE, queue)
return count
`;

const LETTERS_MANY = `
local what, count, again = ARGV[1], 0, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local key = DEAD .. ':letter:' .. id
  local letter = redis.call('HMGET', key, 'queue', 'list', 'envelope')
  if letter[1] then
    if what == 'retry' and not isOpen(letter[2]) then
      pushAll('LPUSH', again)
      return redis.error_reply('WRONGTYPE the key ' .. P .. letter[2] .. NO_LIST)
    end
    count = count + 1
    if what == 'retry' then add(again, letter[2], asNew(letter[3])) end
    redis.call('DEL', key)
    redis.call('ZREM', DEAD, id)
    redis.call('ZREM', DEAD .. ':of:' .. letter[1], id)
  end
end
pushAll('LPUSH', again)
return count
`;
