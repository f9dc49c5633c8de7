"""What happens to a lease in one step, in Lua.

A lease is `token|holder`; so is its mark, the key with `:open` behind it, which stands until the lease is given back or
acquired by another. A lease that ran out leaves its mark: whoever wants it then waits a moment, for when the server was
the one that stood still, all leases ran out at once and their holders are about to renew them. A queue is a sorted set
of holders.
"""

from __future__ import annotations

from gateway.redisconn import LEASE_STATE, Script

QUEUE = """
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local function holder_of(held) return held and string.match(held, '^%d+|(.*)$') end
local function give_up(lease, fence, token)
  -- Its token is not the newest one any more: a late renewal brings nothing back.
  redis.call('DEL', lease, lease .. ':open', lease .. ':dead')
  redis.call('SET', fence, string.format('%.0f', tonumber(token) + 1), 'PX', 86400000)
end
"""

ACQUIRE = Script(
    QUEUE
    + """
local lease, fence, queue, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local holder, ttl, places, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held = redis.call('GET', lease)
if held and holder_of(held) == holder then return {'granted', string.match(held, '^%d+')} end
local at = now()
for _, name in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
  if name ~= holder and tonumber(redis.call('HGET', seen, name) or 0) < at - math.max(ttl, 1000) - 2000 then
    redis.call('ZREM', queue, name)
    redis.call('HDEL', seen, name)
  end
end
local first = redis.call('ZRANGE', queue, 0, 0)[1]
local free, answer = not held and (not first or first == holder), 'waiting'
if free and redis.call('EXISTS', lease .. ':open') == 1 then
  redis.call('SET', lease .. ':dead', at, 'NX', 'PX', grace * 10)
  if at - tonumber(redis.call('GET', lease .. ':dead')) < grace then free, answer = false, 'soon' end
end
if free then
  local time = redis.call('TIME')
  local token = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local newest = tonumber(redis.call('GET', fence) or 0)
  if token <= newest then token = newest + 1 end
  token = string.format('%.0f', token)
  redis.call('SET', fence, token, 'PX', 86400000)
  redis.call('SET', lease, token .. '|' .. holder, 'PX', ttl)
  redis.call('SET', lease .. ':open', token .. '|' .. holder, 'PX', 86400000)
  redis.call('DEL', lease .. ':dead')
  redis.call('ZREM', queue, holder)
  redis.call('HDEL', seen, holder)
  return {'granted', token}
end
if answer == 'soon' and places == 0 then return {answer, '0'} end
if not redis.call('ZSCORE', queue, holder) then
  if redis.call('ZCARD', queue) >= places then return {'refused', '0'} end
  local last = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', queue, tonumber(last or 0) + 1, holder)
end
redis.call('HSET', seen, holder, at)
redis.call('PEXPIRE', queue, ttl * 10 + 60000)
redis.call('PEXPIRE', seen, ttl * 10 + 60000)
return {answer, '0'}
"""
)

LEAVE = Script(
    QUEUE
    + """
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
local held = redis.call('GET', KEYS[1])
if holder_of(held) == ARGV[1] then give_up(KEYS[1], KEYS[2], string.match(held, '^%d+')) end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('PUBLISH', ARGV[2], 'f' .. ARGV[3]) end
return 1
"""
)

RELEASE = Script(
    LEASE_STATE
    + QUEUE
    + """
if lease_state(KEYS[1], KEYS[2], ARGV[1]) ~= 'taken' then
  give_up(KEYS[1], KEYS[2], ARGV[1])
  if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('PUBLISH', ARGV[2], 'f' .. ARGV[3]) end
end
redis.call('DEL', KEYS[5])
return 1
"""
)

HOLDER = Script(QUEUE + "return holder_of(redis.call('GET', KEYS[1])) or false")

SIGNAL = Script(
    QUEUE
    + """
-- One that ran out may be renewed yet; its holder will find the signal then.
local held = redis.call('GET', KEYS[1]) or redis.call('GET', KEYS[1] .. ':open')
if holder_of(held) ~= ARGV[1] then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[3], 's' .. ARGV[1])
return 1
"""
)

BEAT = Script(
    LEASE_STATE
    + """
local ttl = tonumber(ARGV[1])
local replies = {}
for i = 0, #KEYS / 3 - 1 do
  local lease, fence, signals = KEYS[i * 3 + 1], KEYS[i * 3 + 2], KEYS[i * 3 + 3]
  local token, holder, known = ARGV[i * 3 + 2], ARGV[i * 3 + 3], ARGV[i * 3 + 4]
  local state = lease_state(lease, fence, token)
  if state == 'taken' then
    replies[i + 1] = {0}
  else
    if state == 'free' then
      redis.call('SET', lease, token .. '|' .. holder, 'PX', ttl)
      redis.call('SET', lease .. ':open', token .. '|' .. holder, 'PX', 86400000)
      redis.call('SET', fence, token, 'PX', 86400000)
      redis.call('DEL', lease .. ':dead')
    elseif redis.call('PTTL', lease) < ttl * 0.8 then
      redis.call('PEXPIRE', lease, ttl)
      redis.call('PEXPIRE', fence, 86400000)
      redis.call('PEXPIRE', lease .. ':open', 86400000)
    end
    replies[i + 1] = {1, unpack(redis.call('LRANGE', signals, known, -1))}
  end
end
return replies
"""
)

REMEMBER = Script(
    """
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""
)

FORGET = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1")
