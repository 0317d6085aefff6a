import { RedisScript } from './redis.ts';
import type { RedisLayout } from './redis-layout.ts';
import { COMMON, HELD, LETTERS, PARK, RESTORE, TEXT } from './redis-scripts-parts.ts';

/** What the scripts take for granted, besides the layout. */
export interface ScriptSettings {
  readonly visibilityMs: number;
  /** Most messages that one call gives back or moves. */
  readonly restoreLimit: number;
}

/** The steps that must happen whole or not at all. */
export interface RedisScripts {
  /** max, lease, token, sweep, queues... -> delay until the next look is due, then tag, list, envelope of each message */
  readonly receive: RedisScript;
  /** what, then tag, token, list, extra of each message -> positions of those that are lost */
  readonly settle: RedisScript;
  /** lease, then tag, token, list of each message -> positions of those that are lost */
  readonly extend: RedisScript;
  /** delay, list, envelope of each message */
  readonly park: RedisScript;
  /** queues... -> ready, in flight, delayed, dead, known of each */
  readonly count: RedisScript;
  /** queue -> how many messages there were */
  readonly purge: RedisScript;
  /** what, ids... -> how many there were */
  readonly letters: RedisScript;
}

/** The scripts for one layout. Its names are part of their text, so a script is sent and parsed but once. */
export function redisScripts(layout: RedisLayout, settings: ScriptSettings): RedisScripts {
  const constants = `
local P, SEP = ${quote(layout.prefix)}, ${quote(layout.sep)}
local STEPS = {${layout.steps.join(', ')}}
local UNACKED, INDEX = ${quote(layout.unacked)}, ${quote(layout.unackedIndex)}
local LEASES, HOLDERS, DUE = ${['leases', 'holders', 'due'].map((name) => quote(layout.own(name))).join(', ')}
local DELAYED, DEAD = ${quote(layout.own('delayed:'))}, ${quote(layout.own('dead'))}
local QUEUES, BINDING = ${quote(layout.own('queues'))}, ${quote(layout.binding(''))}
local WAKE = ${quote(layout.wakeChannel(''))}
local VISIBILITY, LIMIT = ${settings.visibilityMs}, ${settings.restoreLimit}
`;
  const script = (body: string, ...parts: string[]) =>
    new RedisScript([constants, COMMON, ...parts, body].join('\n').replace(/^ *--.*\n/gm, ''));
  return {
    receive: script(RECEIVE, TEXT, LETTERS, PARK, RESTORE),
    settle: script(SETTLE, TEXT, LETTERS, PARK, HELD),
    extend: script(EXTEND, HELD),
    park: script(PARK_MANY, PARK),
    count: script(COUNT),
    purge: script(PURGE),
    letters: script(LETTERS_MANY, TEXT),
  };
}

/** A text of any bytes as Lua writes it. */
function quote(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => `\\${String(byte).padStart(3, '0')}`);
  return `"${bytes.join('')}"`;
}

const RECEIVE = `
local max, lease, token, sweep = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local now = clock()
moveDue(now)
restoreLeases(now)
if sweep == '1' then restoreOthers(now) end

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
        problem = 'WRONGTYPE the key ' .. P .. list .. ' is no list'
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

if #envelopes == 0 then
  if problem then return redis.error_reply(problem) end
  local due = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
  local ends = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2]
  local first = math.min(tonumber(due) or math.huge, tonumber(ends) or math.huge)
  return { first < math.huge and exact(math.max(0, math.ceil(first - now))) or '' }
end

-- Every message needs a tag of its own. Foreign ones may have none, or one that is in use.
local tags = {}
for i, envelope in ipairs(envelopes) do
  tags[i] = string.match(envelope, '.*"delivery_tag"%s*:%s*"([^"\\\\]+)"') or ''
end
local taken, seen = redis.call('ZMSCORE', INDEX, unpack(tags)), {}
local good, records, holders, reply = {}, {}, {}, { '' }
local since, untilWhen = seenAt(now, lease), exact(now + lease)
local endings, tokens = {}, {}
for _, list in ipairs(lists) do
  if not tokens[list] then endings[list], tokens[list] = ending((split(list))), token .. ' ' .. list end
end
for i, envelope in ipairs(envelopes) do
  local tag, list = tags[i], lists[i]
  local sound = true
  if tag == '' then
    local parsed, value = pcall(cjson.decode, envelope)
    sound = parsed and type(value) == 'table' and string.find(envelope, '^%s*{') ~= nil
    if sound then
      tag = token .. '-' .. i
      local _, at = string.find(envelope, '"properties"%s*:%s*{')
      if at then
        envelope = insert(envelope, at, '"delivery_tag": "' .. tag .. '"')
      else
        _, at = string.find(envelope, '^%s*{')
        envelope = insert(envelope, at, '"properties": {"delivery_tag": "' .. tag .. '"}')
      end
    end
  elseif taken[i] or seen[tag] then
    local _, at = string.find(envelope, '.*"delivery_tag"%s*:%s*"')
    envelope = string.sub(envelope, 1, at) .. token .. '-' .. i .. string.sub(envelope, at + #tag + 1)
    tag = token .. '-' .. i
  end
  if sound then
    seen[tag] = true
    good[#good + 1] = tag
    local n = #records
    records[n + 1], records[n + 2] = tag, '[' .. envelope .. endings[list]
    holders[n + 1], holders[n + 2] = tag, tokens[list]
    n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = tag, list, envelope
  else
    bury(now, list, envelope, 'not a message: expected the JSON object of an envelope', 0)
  end
end
if #good > 0 then
  local index, leases = {}, {}
  -- Backwards: a small sorted set is searched from its beginning, where tags that grow with time then find their place.
  for i = #good, 1, -1 do
    local n = #index
    index[n + 1], index[n + 2] = since, good[i]
    leases[n + 1], leases[n + 2] = untilWhen, good[i]
  end
  redis.call('HSET', UNACKED, unpack(records))
  redis.call('ZADD', INDEX, unpack(index))
  redis.call('ZADD', LEASES, unpack(leases))
  redis.call('HSET', HOLDERS, unpack(holders))
end
return reply
`;

const SETTLE = `
local what = ARGV[1]
local mine, lost = held(2, 4)
if #mine == 0 then return lost end
local tags = {}
for i, at in ipairs(mine) do tags[i] = ARGV[at] end

if what ~= 'ack' then
  local now, released = clock(), {}
  local records = redis.call('HMGET', UNACKED, unpack(tags))
  -- Backwards: what comes first is to be next.
  for i = #mine, 1, -1 do
    local list, extra = ARGV[mine[i] + 2], ARGV[mine[i] + 3]
    local envelope = records[i] and unwrap(records[i], (split(list)))
    if not envelope then
      lost[#lost + 1] = (mine[i] - 2) / 4
    elseif what == 'release' then
      if tonumber(extra) > 0 then park(list, envelope, now + tonumber(extra)) else add(released, list, envelope) end
    elseif what == 'defer' then
      park(list, asNew(envelope), tonumber(extra))
    else
      local attempt, reason = string.match(extra, '^(%d+) (.*)$')
      bury(now, list, envelope, reason, attempt)
    end
  end
  pushAll('RPUSH', released)
  if sooner then wake('') end
end

redis.call('HDEL', UNACKED, unpack(tags))
redis.call('ZREM', INDEX, unpack(tags))
redis.call('ZREM', LEASES, unpack(tags))
redis.call('HDEL', HOLDERS, unpack(tags))
return lost
`;

const EXTEND = `
local lease = tonumber(ARGV[1])
local mine, lost = held(2, 3)
if #mine == 0 then return lost end
local now = clock()
local ends, seen = {}, {}
for i, at in ipairs(mine) do
  ends[2 * i - 1], ends[2 * i] = exact(now + lease), ARGV[at]
  seen[2 * i - 1], seen[2 * i] = seenAt(now, lease), ARGV[at]
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
local function hold(queue) inFlight[queue] = (inFlight[queue] or 0) + 1 end
local tags = redis.call('ZRANGE', INDEX, 0, -1)
for from = 1, #tags, 1000 do
  local some = { unpack(tags, from, math.min(from + 999, #tags)) }
  for i, holder in ipairs(redis.call('HMGET', HOLDERS, unpack(some))) do
    if holder then
      hold((split(string.match(holder, '^%S+ (.*)$'))))
    else
      local record = redis.call('HGET', UNACKED, some[i])
      local queue = record and string.match(record, ',%s*"([^"]*)"%]$')
      if queue then hold(queue) end
    end
  end
end
for _, queue in ipairs(ARGV) do
  local ready = 0
  for _, step in ipairs(STEPS) do ready = ready + redis.call('LLEN', P .. listOf(queue, step)) end
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
