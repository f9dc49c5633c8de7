"""What happens to a run's stream in one step, in Lua.

A run is a hash (`info`, `lost`, `lease`, `fence`, `token`, `thread`, `ending`, `last`, `until`, `dead`) and a Redis
Stream of entries. An entry holds the frames up to the number that is its id: an append that comes twice is known.
"""

from __future__ import annotations

from gateway.redisconn import LEASE_STATE, Script

ENDING = """
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local function tell(prefix, id, first, last, ended, blob)
  redis.call('PUBLISH', prefix .. 'live:' .. id, first .. ' ' .. last .. ' ' .. ended .. '\\n' .. blob)
end
local function finish(prefix, id, ending, last, keep, gone)
  local run, frames = prefix .. 'run:' .. id, prefix .. 'frames:' .. id
  redis.call('HSET', run, 'ending', ending, 'last', last, 'until', now() + keep)
  redis.call('PEXPIRE', run, keep + gone)
  -- A little longer than promised: who has begun to read may finish.
  redis.call('PEXPIRE', frames, keep + 10000)
  local thread = redis.call('HGET', run, 'thread')
  if redis.call('GET', thread) == id then redis.call('DEL', thread) end
end
"""

OPEN = Script(
    LEASE_STATE
    + """
local run, thread, lease, fence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, info, lost, token, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('EXISTS', run) == 1 then return 1 end
if lease_state(lease, fence, token) == 'taken' then return 0 end
redis.call('HSET', run, 'info', info, 'lost', lost, 'lease', lease, 'fence', fence, 'token', token, 'thread', thread,
  'ending', '', 'last', 0)
redis.call('PEXPIRE', run, ttl)
redis.call('SET', thread, id, 'PX', ttl)
return 1
"""
)

APPEND = Script(
    LEASE_STATE
    + ENDING
    + """
local run, frames, lease, fence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, id, token, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local first, last, blob = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local ending, keep, gone = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
local state = redis.call('HMGET', run, 'ending', 'last')
if not state[1] then return {'gone', 0} end
local stored = tonumber(state[2])
if state[1] ~= '' then
  if state[1] == ending and stored == last then return {'stored', stored} end
  return {'fenced', stored}
end
if lease_state(lease, fence, token) == 'taken' then return {'fenced', stored} end
if last > stored then
  if first ~= stored + 1 then return {'gap', stored} end
  redis.call('XADD', frames, last .. '-0', 'f', blob)
  redis.call('HSET', run, 'last', last)
elseif stored > last then
  return {'gap', stored}
else
  blob = ''
end
if ending ~= '' then
  finish(prefix, id, ending, last, keep, gone)
elseif redis.call('PTTL', frames) < ttl / 2 then
  redis.call('PEXPIRE', frames, ttl)
  redis.call('PEXPIRE', run, ttl)
  redis.call('PEXPIRE', redis.call('HGET', run, 'thread'), ttl)
end
if blob ~= '' or ending ~= '' then
  tell(prefix, id, blob == '' and last + 1 or first, last, ending == '' and 0 or 1, blob)
end
return {'stored', last}
"""
)
"""Replies `stored`, `gap` with the number of the last frame that is there, `gone` or `fenced`."""

LOOKING = (
    LEASE_STATE
    + ENDING
    + """
-- An owner whose lease ran out has a moment to come back; then whoever looks next ends the run for it.
local function look(prefix, id, grace, keep, gone)
  local run = prefix .. 'run:' .. id
  local found = redis.call('HMGET', run, 'ending', 'last', 'until', 'lease', 'fence', 'token', 'dead', 'lost')
  local ending, last = found[1], tonumber(found[2] or 0)
  if not ending then return 'gone', '', 0 end
  if ending ~= '' then
    return now() < tonumber(found[3]) and 'here' or 'expired', ending, last
  end
  local state = lease_state(found[4], found[5], found[6])
  if state == 'held' then
    if found[7] then redis.call('HDEL', run, 'dead') end
    return 'here', '', last
  end
  if state == 'free' then
    if not found[7] then
      redis.call('HSET', run, 'dead', now())
      return 'here', '', last
    end
    if now() - tonumber(found[7]) < grace then return 'here', '', last end
  end
  local lost, blob, first = found[8], '', last + 1
  if lost ~= '' then
    blob = struct.pack('>I4I4', 1, #lost) .. lost
    last = last + 1
    redis.call('XADD', prefix .. 'frames:' .. id, last .. '-0', 'f', blob)
  end
  finish(prefix, id, 'lost', last, keep, gone)
  tell(prefix, id, first, last, 1, blob)
  return 'here', 'lost', last
end
local prefix, grace, keep, gone = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
"""
)

LOOK = Script(
    LOOKING
    + """
local watch, replies = tonumber(ARGV[5]), {}
for i = 6, #ARGV do
  local id = ARGV[i]
  local state, ending, last = look(prefix, id, grace, keep, gone)
  replies[#replies + 1] = {state, ending, last}
  if watch > 0 and state == 'here' and ending == '' then redis.call('SET', prefix .. 'watch:' .. id, 1, 'PX', watch) end
end
return replies
"""
)
"""For each run: `here`, `expired` or `gone`; its ending; the number of its last frame."""

INFO = Script(
    LOOKING
    + """
local state, ending = look(prefix, ARGV[5], grace, keep, gone)
local found = redis.call('HMGET', prefix .. 'run:' .. ARGV[5], 'info', 'lost')
return {state, ending, found[1] or '', found[2] or ''}
"""
)

FIND = Script(
    LOOKING
    + """
local id = redis.call('GET', KEYS[1])
if not id then return false end
local state, ending = look(prefix, id, grace, keep, gone)
if state ~= 'here' or ending ~= '' then return false end
return redis.call('HMGET', prefix .. 'run:' .. id, 'info', 'lost')
"""
)
