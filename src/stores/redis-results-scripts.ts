import { RedisScript } from './redis.ts';
import { LUA_FINISHED } from './redis-results-state.ts';

/**
 * ARGV: ttl in ms (or nothing), then of each record its key, `SUCCESS`, `FAILURE`, `REVOKED` or nothing, and its document.
 * Stores what the overwrite law of `ResultBackend.storeMany` lets through, and publishes each document on the channel of
 * its key's name.
 */
export const STORE_MANY = new RedisScript(`${LUA_FINISHED}
local ttl = ARGV[1]

local function set(key, document, ...)
  if ttl == '' then return redis.call('SET', key, document, ...) end
  return redis.call('SET', key, document, 'PX', ttl, ...)
end

-- What is no document, or of another type, gives way to any result.
local function may_replace(key, state)
  local stored = redis.pcall('GET', key)
  local old = type(stored) == 'string' and finished(stored)
  return old ~= 'SUCCESS' and (state ~= '' or not old)
end

for i = 2, #ARGV, 3 do
  local key, state, document = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  -- Most results are the first of their task: those cost no look at the stored one.
  local stored = set(key, document, 'NX')
  if not stored and may_replace(key, state) then stored = set(key, document) end
  if stored then redis.call('PUBLISH', key, document) end
end
`);
