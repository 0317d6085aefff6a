import { LUA_FINISHED } from './results-state.ts';
import { RedisScript } from './store.ts';

const STORE = `${LUA_FINISHED}
local ttl, call = ARGV[1], redis.call

-- What is no document, or of another type, gives way to any result.
local function may_replace(key, state)
  local stored = redis.pcall('GET', key)
  local old = type(stored) == 'string' and finished(stored)
  return old ~= 'SUCCESS' and (state ~= '' or not old)
end

for i = 2, #ARGV, 3 do
  local key, document = ARGV[i], ARGV[i + 2]
  -- Most results are the first of their task: those cost no look at the stored one.
  local stored
  if ttl == '' then stored = call('SETNX', key, document) == 1 else stored = call('SET', key, document, 'PX', ttl, 'NX') end
  if not stored and may_replace(key, ARGV[i + 1]) then
    stored = true
    if ttl == '' then call('SET', key, document) else call('SET', key, document, 'PX', ttl) end
  end
  if stored then call('PUBLISH', key, document) end
end
`;

/**
 * ARGV: ttl in ms (or nothing), then of each record its key, `SUCCESS`, `FAILURE`, `REVOKED` or nothing, and its document.
 * Stores what the overwrite law of `ResultBackend.storeMany` lets through, and publishes each document on the channel of
 * its key's name.
 */
export const STORE_MANY = new RedisScript(STORE);

/** The same at maxmemory, where Redis refuses only a script whose first write takes memory: this one begins with another. */
export const STORE_MANY_ANYWAY = new RedisScript(`redis.call('DEL', ARGV[2] .. '.none')\n${STORE}`);
