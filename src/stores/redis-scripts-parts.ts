/** The parts of which the scripts are made: Lua functions, each part after those it needs. */

/** What every script has. */
export const COMMON = `
-- Milliseconds by the server's clock: those of the clients may differ.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function exact(number) return string.format('%.17g', number) end

local function listOf(queue, step)
  step = tonumber(step)
  if step == 0 then return queue end
  return queue .. SEP .. step
end

local function split(list)
  for _, step in ipairs(STEPS) do
    local ending = SEP .. step
    if step > 0 and #list > #ending and string.sub(list, -#ending) == ending then
      return string.sub(list, 1, -#ending - 1), step
    end
  end
  return list, 0
end

local function wake(queue) redis.call('PUBLISH', WAKE .. queue, '') end

-- When kombu shall count our holding from: never so that it ends before our lease does.
local function seenAt(now, lease) return string.format('%.3f', math.max(now, now + lease - VISIBILITY) / 1000) end

-- Pushes { list = { envelopes } } in their order, and tells who waits.
local function pushAll(command, byList)
  for list, envelopes in pairs(byList) do
    redis.call(command, P .. list, unpack(envelopes))
    wake((split(list)))
  end
end

local function add(byList, list, envelope)
  local envelopes = byList[list]
  if envelopes then envelopes[#envelopes + 1] = envelope else byList[list] = { envelope } end
end
`;

/**
 * cjson cannot write back what it has read (large numbers, empty lists), so envelopes are edited as text. A match of
 * '"name" : {' in JSON is always a key and a map, even where it is not the one that was meant: the text stays sound.
 */
export const TEXT = `
local COUNTED = '"redelivered": true, "deliveries": '

local function insert(text, at, fields)
  local rest = string.sub(text, at + 1)
  local comma = string.find(rest, '^%s*}') and '' or ', '
  return string.sub(text, 1, at) .. fields .. comma .. rest
end

-- Behind the brace of delivery_info; it is among the last things of an envelope.
local function infoAt(text)
  local _, at = string.find(text, '.*"delivery_info"%s*:%s*{')
  return at
end

local function deliveries(text)
  local at = infoAt(text)
  return at and tonumber(string.match(text, '^' .. COUNTED .. '(%d+)', at + 1)) or 0
end

local function withDeliveries(text, count)
  local at = infoAt(text)
  if not at then
    _, at = string.find(text, '"properties"%s*:%s*{')
    return at and insert(text, at, '"delivery_info": {' .. COUNTED .. count .. '}') or text
  end
  local _, last = string.find(text, '^' .. COUNTED .. '%d+', at + 1)
  if last then return string.sub(text, 1, at) .. COUNTED .. count .. string.sub(text, last + 1) end
  return insert(text, at, COUNTED .. count)
end

-- As a message that was never delivered.
local function asNew(text)
  if not string.find(text, '"redelivered"', 1, true) then return text end
  return withDeliveries(text, 0)
end

local function asRedelivered(text)
  local _, at = string.find(text, '"headers"%s*:%s*{')
  if at and not string.find(text, '^"redelivered": true', at + 1) then
    text = insert(text, at, '"redelivered": true')
  end
  return withDeliveries(text, deliveries(text) + 1)
end

-- What stands in unacked, as kombu reads it: [envelope, exchange, routing key].
local function ending(queue) return ', "", ' .. cjson.encode(queue) .. ']' end

local function unwrap(record, queue)
  local tail = ending(queue)
  if string.sub(record, -#tail) == tail then return string.sub(record, 2, -#tail - 1) end
  return (string.match(record, '^%[(.*),%s*"[^"]*",%s*"[^"]*"%]$'))
end
`;

/** Dead letters. */
export const LETTERS = `
local function bury(now, list, envelope, reason, attempt)
  local queue = split(list)
  local id = redis.call('INCR', DEAD .. ':last')
  redis.call('HSET', DEAD .. ':letter:' .. id, 'queue', queue, 'list', list, 'reason', reason, 'diedAt', now,
    'attempt', attempt, 'envelope', envelope)
  redis.call('ZADD', DEAD, id, id)
  redis.call('ZADD', DEAD .. ':of:' .. queue, id, id)
  redis.call('SADD', QUEUES, queue)
end
`;

/** One sorted set of envelopes a queue, and one that tells when the first of each queue is due. */
export const PARK = `
local sooner = false

local function park(list, envelope, due)
  local queue, step = split(list)
  redis.call('ZADD', DELAYED .. queue, exact(due), step .. envelope)
  if redis.call('ZADD', DUE, 'LT', 'CH', exact(due), queue) == 1 then sooner = true end
end

local function moveDue(now)
  for _, queue in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, LIMIT)) do
    local key = DELAYED .. queue
    local parked = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, LIMIT)
    local ready = {}
    for _, one in ipairs(parked) do add(ready, listOf(queue, string.sub(one, 1, 1)), string.sub(one, 2)) end
    if #parked > 0 then redis.call('ZREMRANGEBYRANK', key, 0, #parked - 1) end
    pushAll('LPUSH', ready)
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[1] then redis.call('ZADD', DUE, first[2], queue) else redis.call('ZREM', DUE, queue) end
  end
end
`;

/** Giving back what dead holders had. */
export const RESTORE = `
local function forget(tag)
  redis.call('ZREM', LEASES, tag)
  redis.call('HDEL', HOLDERS, tag)
end

-- The list of a message that a Python worker held; nothing where only Python can tell.
local function listOfRecord(record)
  local exchange, key = string.match(record, ',%s*"([^"]*)",%s*"([^"]*)"%]$')
  if not exchange then return end
  local names = cjson.decode('["' .. exchange .. '","' .. key .. '"]')
  local queue = names[2]
  if names[1] ~= '' then
    queue = nil
    for _, member in ipairs(redis.call('SMEMBERS', BINDING .. names[1])) do
      local from, to = string.find(member, SEP, 1, true)
      if from and string.sub(member, 1, from - 1) == names[2] then
        local last = string.find(member, SEP, to + 1, true)
        if last then queue = string.sub(member, last + #SEP) end
      end
    end
    if not queue then return end
  end
  local priority, step = tonumber(string.match(record, '.*"priority"%s*:%s*(%d+)')) or 0, 0
  for _, one in ipairs(STEPS) do if one <= priority then step = one end end
  return listOf(queue, step)
end

-- Gives back what dead holders had, the oldest to be next.
local function restore(tags, listFor)
  local byList = {}
  for i = #tags, 1, -1 do
    local tag = tags[i]
    local record = redis.call('HGET', UNACKED, tag)
    local list = listFor(tag, record)
    local envelope = list and unwrap(record, (split(list)))
    if envelope then
      add(byList, list, asRedelivered(envelope))
      redis.call('HDEL', UNACKED, tag)
      redis.call('ZREM', INDEX, tag)
    elseif not record then
      redis.call('ZREM', INDEX, tag)
    end
    forget(tag)
  end
  pushAll('RPUSH', byList)
end

local function restoreLeases(now)
  local ended = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'WITHSCORES', 'LIMIT', 0, LIMIT)
  if #ended == 0 then return end
  local tags, ends = {}, {}
  for i = 1, #ended, 2 do
    tags[#tags + 1] = ended[i]
    ends[ended[i]] = tonumber(ended[i + 1])
  end
  restore(tags, function(tag, record)
    local since = redis.call('ZSCORE', INDEX, tag)
    -- Taken again after our lease had ended: a Python worker restored it, and one has it now.
    if not record or not since or tonumber(since) * 1000 > ends[tag] then return end
    local holder = redis.call('HGET', HOLDERS, tag)
    return holder and string.match(holder, '^%S+ (.*)$')
  end)
end

local function restoreOthers(now)
  local before = exact((now - VISIBILITY) / 1000)
  local tags = {}
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', INDEX, '-inf', before, 'LIMIT', 0, LIMIT)) do
    -- A lease of somebody who was told of another visibility timeout still holds.
    if not redis.call('ZSCORE', LEASES, tag) then tags[#tags + 1] = tag end
  end
  if #tags > 0 then restore(tags, function(_, record) return record and listOfRecord(record) end) end
end
`;

/** Who holds what. */
export const HELD = `
-- Reads tag, token and list of each message from ARGV; what is not held by that token is lost.
local function held(from, width)
  local tags, lost, mine = {}, {}, {}
  for i = from, #ARGV, width do tags[#tags + 1] = ARGV[i] end
  local holders = redis.call('HMGET', HOLDERS, unpack(tags))
  local since = redis.call('ZMSCORE', INDEX, unpack(tags))
  local seen = {}
  for i, tag in ipairs(tags) do
    local at = from + (i - 1) * width
    if since[i] and holders[i] == ARGV[at + 1] .. ' ' .. ARGV[at + 2] and not seen[tag] then
      mine[#mine + 1] = at
    else
      lost[#lost + 1] = i - 1
    end
    seen[tag] = true
  end
  return mine, lost
end
`;
