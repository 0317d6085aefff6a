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

-- Whether envelopes can be pushed there. Nothing is taken from its place before that is known: a script that fails in
-- the middle is not undone.
local function isOpen(list)
  local type = redis.call('TYPE', P .. list).ok
  return type == 'list' or type == 'none'
end

-- At maxmemory Redis refuses a script whose first write takes memory. What only moves messages begins with a write of
-- nothing.
local function mayGrow() redis.call('ZREM', LEASES, '') end

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
    local open = true
    for list in pairs(ready) do open = open and isOpen(list) end
    if open then
      if #parked > 0 then redis.call('ZREMRANGEBYRANK', key, 0, #parked - 1) end
      pushAll('LPUSH', ready)
      local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
      if first[1] then redis.call('ZADD', DUE, first[2], queue) else redis.call('ZREM', DUE, queue) end
    else
      mayGrow()
      redis.call('ZADD', DUE, exact(now + CLOSED_MS), queue)
    end
  end
end
`;

/**
 * Who holds what. A message is held under a key of its own for each delivery: the name of the batch in which it was
 * taken, and its place in it. So whoever knows the key holds the message, for as long as the key is there. A batch has
 * one lease; a message that is renewed gets one to itself.
 */
export const HELD = `
local function batchOf(key) return string.sub(key, 1, BATCH_NAME) end

local function keyIn(batch, place) return batch .. string.format('-%04d', place) end

-- Tells which of the keys are held, and the positions of the others. A key counts once.
local function held(keys)
  local since = redis.call('ZMSCORE', INDEX, unpack(keys))
  local mine, lost, seen = {}, {}, {}
  for i, key in ipairs(keys) do
    if since[i] and not seen[key] then mine[#mine + 1] = i else lost[#lost + 1] = i - 1 end
    seen[key] = true
  end
  return mine, lost
end

local function forget(keys)
  redis.call('HDEL', UNACKED, unpack(keys))
  redis.call('ZREM', INDEX, unpack(keys))
  redis.call('ZREM', LEASES, unpack(keys))
  local counts = {}
  for _, key in ipairs(keys) do
    local batch = batchOf(key)
    counts[batch] = (counts[batch] or 0) + 1
  end
  for batch, count in pairs(counts) do
    local left = tonumber(redis.call('HGET', BATCHES, batch) or nil)
    if left and left > count then
      redis.call('HINCRBY', BATCHES, batch, -count)
    elseif left then
      redis.call('HDEL', BATCHES, batch)
      redis.call('ZREM', LEASES, batch)
    end
  end
end
`;

/** Giving back what dead holders had. */
export const RESTORE = `
-- The list that a message is of; nothing where only Python can tell.
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

-- Gives messages back, the first to be next. What has no list to go to is looked at again later.
local function restore(keys, now)
  local byList, gone = {}, {}
  for i = #keys, 1, -1 do
    local record = redis.call('HGET', UNACKED, keys[i])
    local list = record and listOfRecord(record)
    if list and not isOpen(list) then
      mayGrow()
      redis.call('ZADD', LEASES, exact(now + CLOSED_MS), keys[i])
      list = nil
    end
    local envelope = list and unwrap(record, (split(list)))
    if envelope then add(byList, list, asRedelivered(envelope)) end
    if envelope or not record then gone[#gone + 1] = keys[i] end
  end
  if #gone > 0 then forget(gone) end
  pushAll('RPUSH', byList)
end

-- Ends the lease of a batch, and adds to the keys those of its messages that have none to themselves.
local function endBatch(batch, keys)
  local left, from = tonumber(redis.call('HGET', BATCHES, batch)), 1
  while left > 0 and from <= MAX_BATCH do
    local some = {}
    for i = from, from + 99 do some[#some + 1] = keyIn(batch, i) end
    local since = redis.call('ZMSCORE', INDEX, unpack(some))
    local renewed = redis.call('ZMSCORE', LEASES, unpack(some))
    for i, key in ipairs(some) do
      if since[i] then
        left = left - 1
        if not renewed[i] then keys[#keys + 1] = key end
      end
    end
    from = from + 100
  end
  redis.call('HDEL', BATCHES, batch)
  redis.call('ZREM', LEASES, batch)
end

local function restoreLeases(now)
  local keys = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, LIMIT)) do
    if #keys >= LIMIT then break end
    if redis.call('HEXISTS', BATCHES, name) == 1 then endBatch(name, keys) else keys[#keys + 1] = name end
  end
  for from = 1, #keys, 1000 do restore({ unpack(keys, from, math.min(from + 999, #keys)) }, now) end
end

local function restoreOthers(now)
  local before = exact((now - VISIBILITY) / 1000)
  local keys = {}
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', INDEX, '-inf', before, 'LIMIT', 0, LIMIT)) do
    -- A lease of somebody who was told of another visibility timeout still holds.
    local lease = redis.call('ZMSCORE', LEASES, key, batchOf(key))
    if not lease[1] and not lease[2] then keys[#keys + 1] = key end
  end
  if #keys > 0 then restore(keys, now) end
end
`;
