import { LUA_TASK_OF } from './joins-member.ts';
import { RedisScript } from './store.ts';

/*
 * The keys of a join come first in ARGV, the same for each script: Celery's `.j` (members by place), `.t` (how many were
 * added later), `.s` (how many there are to be), and one of ours for a join that has ended, with its last progress.
 */
const LUA_KEYS = `
local members, added, size, ended = unpack(ARGV, 1, 4)

local function progress()
  local expected = redis.call('GET', size)
  local more = redis.call('GET', added)
  return { redis.call('ZCARD', members), expected and tonumber(expected) + tonumber(more or 0) }
end

local function live_on(ttl)
  if ttl == '' then return end
  -- Never shorter than before, and all three alike.
  local longest = tonumber(ttl)
  for i = 1, 3 do longest = math.max(longest, redis.call('PTTL', ARGV[i])) end
  for i = 1, 3 do redis.call('PEXPIRE', ARGV[i], longest) end
end
`;

const LUA_UNLESS_ENDED = `
local last = redis.call('GET', ended)
if last then return cjson.decode(last) end
`;

/** ARGV: keys, ttl (or nothing), size. Gives the progress. */
export const SET_SIZE = new RedisScript(`${LUA_KEYS}${LUA_UNLESS_ENDED}
redis.call('SET', size, ARGV[6])
redis.call('PUBLISH', size, ARGV[6])
live_on(ARGV[5])
return progress()
`);

/** ARGV: keys, ttl (or nothing), then place, task id and member of each part. Gives the progress. */
export const ADD_MANY = new RedisScript(`${LUA_KEYS}${LUA_TASK_OF}${LUA_UNLESS_ENDED}
-- Celery tells members apart by all that is in them; here a task that ran twice counts once whatever it returned.
local function is_there(place, id)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', members, place, place)) do
    if task_of(member) == id then return true end
  end
end

for i = 6, #ARGV, 3 do
  if not is_there(ARGV[i], ARGV[i + 1]) then redis.call('ZADD', members, ARGV[i], ARGV[i + 2]) end
end
live_on(ARGV[5])
return progress()
`);

/** ARGV: keys, ttl (or nothing), key of the part. Gives the progress. Beside `.t` stands which parts it counts. */
export const GROW = new RedisScript(`${LUA_KEYS}${LUA_UNLESS_ENDED}
local counted = added .. '.keys'
if redis.call('SADD', counted, ARGV[6]) == 1 then redis.call('INCR', added) end
live_on(ARGV[5])
local life = redis.call('PTTL', added)
if life > 0 then redis.call('PEXPIRE', counted, life) end
return progress()
`);

/** ARGV: keys. Gives members and places in turn; nothing where the join is unknown or has ended. */
export const READ = new RedisScript(`${LUA_KEYS}
if redis.call('EXISTS', ended) == 1 or redis.call('EXISTS', members, size) == 0 then return false end
return redis.call('ZRANGE', members, 0, -1, 'WITHSCORES')
`);

/** ARGV: keys, for how long the end is remembered. Gives what READ gives. */
export const TAKE = new RedisScript(`${LUA_KEYS}
if redis.call('EXISTS', ended) == 1 or redis.call('EXISTS', members, size) == 0 then return false end
local parts = redis.call('ZRANGE', members, 0, -1, 'WITHSCORES')
redis.call('SET', ended, cjson.encode(progress()), 'PX', ARGV[5])
redis.call('DEL', members, added, added .. '.keys', size)
return parts
`);
