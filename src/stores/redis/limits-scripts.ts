import { KEEP_RESERVED_MS, LATE_MS } from '../../util/gcra.ts';
import { RedisScript } from './store.ts';

/*
 * A claimed key is a sorted set of its holders by the end of their leases; a finished one is a text of its own with who
 * finished it. Every script removes something first: at maxmemory Redis refuses only those whose first write takes memory,
 * and workers shall drain the queues then.
 */
const LUA_CLAIMS = `
local call = redis.call
-- By the server's clock: those of the clients may differ.
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function sweep(key) call('ZREMRANGEBYSCORE', key, '-inf', now) end

local function hold(key, holder, lease)
  call('ZADD', key, now + lease, holder)
  -- As long as the longest lease in it.
  call('PEXPIREAT', key, call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
end
`;

/** ARGV: what stands in front of claimed and of finished keys, then key, holder, lease, slots of each -> 1, or who has it, whether finished, wait. */
export const CLAIM_MANY = new RedisScript(`${LUA_CLAIMS}
local answers = {}
for i = 3, #ARGV, 4 do
  local key, done, holder = ARGV[1] .. ARGV[i], ARGV[2] .. ARGV[i], ARGV[i + 1]
  sweep(key)
  local finisher = call('GET', done)
  if finisher then
    answers[#answers + 1] = { finisher, 1, call('PTTL', done) }
  elseif call('ZSCORE', key, holder) or call('ZCARD', key) < tonumber(ARGV[i + 3]) then
    hold(key, holder, tonumber(ARGV[i + 2]))
    answers[#answers + 1] = 1
  else
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    answers[#answers + 1] = { first[1], 0, first[2] - now }
  end
end
return answers
`);

/** ARGV: what stands in front of claimed keys, lease, then key, holder of each -> positions of claims that have ended. */
export const RENEW_MANY = new RedisScript(`${LUA_CLAIMS}
local lost = {}
for i = 3, #ARGV, 2 do
  local key, holder = ARGV[1] .. ARGV[i], ARGV[i + 1]
  sweep(key)
  if call('ZSCORE', key, holder) then hold(key, holder, tonumber(ARGV[2])) else lost[#lost + 1] = (i - 3) / 2 end
end
return lost
`);

/** ARGV: what stands in front of claimed keys, then key, holder of each. */
export const RELEASE_MANY = new RedisScript(`
for i = 2, #ARGV, 2 do redis.call('ZREM', ARGV[1] .. ARGV[i], ARGV[i + 1]) end
`);

/** ARGV: what stands in front of claimed and of finished keys, ttl, then key, holder of each -> positions of claims that have ended. */
export const FINISH_MANY = new RedisScript(`${LUA_CLAIMS}
local lost = {}
for i = 4, #ARGV, 2 do
  local key, done, holder = ARGV[1] .. ARGV[i], ARGV[2] .. ARGV[i], ARGV[i + 1]
  sweep(key)
  if call('ZSCORE', key, holder) then
    call('DEL', key)
    call('SET', done, holder, 'PX', ARGV[3])
  elseif call('GET', done) ~= holder then
    lost[#lost + 1] = (i - 4) / 2
  end
end
return lost
`);

/**
 * The same as util/gcra.ts. A rate is a hash, and its reservations a sorted set of ids by their moments.
 * ARGV: what stands in front of rates and of reservations, then key, id, interval, burst of each -> waits.
 */
export const RESERVE_MANY = new RedisScript(`
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000 + t[2] / 1000

local function at_rate(key, interval)
  local state = call('HMGET', key, 'next', 'taken', 'interval')
  if not state[1] then return now, now end
  local next, taken, before = tonumber(state[1]), tonumber(state[2]), tonumber(state[3])
  if interval >= before then return next, taken end
  local function sooner(moment) return now + (math.max(moment, now) - now) * (interval / before) end
  return sooner(next), sooner(taken)
end

local function ask(key, reserved, interval, burst)
  local next, taken = at_rate(key, interval)
  local took = math.max(taken, now) + interval
  if reserved then
    if reserved > now then return next, taken, reserved end
    if taken - math.max(burst * interval, ${LATE_MS}) <= now then return next, took, reserved end
  end
  local start = math.max(next, taken, now)
  local moment = start - (burst - 1) * interval
  return start + interval, moment > now and taken or took, moment
end

local waits = {}
for i = 3, #ARGV, 4 do
  local rate, reservations, id = ARGV[1] .. ARGV[i], ARGV[2] .. ARGV[i], ARGV[i + 1]
  call('ZREMRANGEBYSCORE', reservations, '-inf', now - ${KEEP_RESERVED_MS})
  local reserved = call('ZSCORE', reservations, id)
  reserved = reserved and tonumber(reserved)
  local next, taken, moment = ask(rate, reserved, tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))
  call('HSET', rate, 'next', next, 'taken', taken, 'interval', ARGV[i + 2])
  call('PEXPIREAT', rate, math.ceil(math.max(next, taken)))
  if moment > now then
    call('ZADD', reservations, moment, id)
    local last = call('ZRANGE', reservations, -1, -1, 'WITHSCORES')[2]
    call('PEXPIREAT', reservations, math.ceil(last) + ${KEEP_RESERVED_MS})
  elseif reserved then
    call('ZREM', reservations, id)
  end
  waits[#waits + 1] = math.max(0, math.ceil(moment - now))
end
return waits
`);
