/** mark, ttl, then delay, list, envelope of each message -> 1; 0 where the mark was there, and nothing was done. */
export const PUBLISH_ONCE = `
for i = 3, #ARGV, 3 do
  -- A script that fails in the middle is not undone.
  if not isOpen(ARGV[i + 1]) then return redis.error_reply('WRONGTYPE the key ' .. P .. ARGV[i + 1] .. NO_LIST) end
end
if not redis.call('SET', ARGV[1], '', 'NX', 'PX', ARGV[2]) then return 0 end
local now, ready = clock(), {}
for i = 3, #ARGV, 3 do
  local delay = tonumber(ARGV[i])
  -- The fraction keeps the order of one batch.
  if delay > 0 then park(ARGV[i + 1], ARGV[i + 2], now + delay + i / 4096) else add(ready, ARGV[i + 1], ARGV[i + 2]) end
end
pushAll('LPUSH', ready)
if sooner then wake('') end
return 1
`;

/** queue, member of each parked message -> positions of those that are parked no more. */
export const TAKE_PARKED = `
local lost, queues = {}, {}
for i = 1, #ARGV, 2 do
  if redis.call('ZREM', DELAYED .. ARGV[i], ARGV[i + 1]) == 0 then lost[#lost + 1] = (i - 1) / 2 end
  queues[ARGV[i]] = true
end
for queue in pairs(queues) do
  local first = redis.call('ZRANGE', DELAYED .. queue, 0, 0, 'WITHSCORES')
  if first[1] then redis.call('ZADD', DUE, first[2], queue) else redis.call('ZREM', DUE, queue) end
end
return lost
`;
