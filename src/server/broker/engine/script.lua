#!lua
-- What is done to a channel in one step: publishing to it, and taking note of a node that has it.
--
-- The first line has Redis refuse the script before it runs (out of memory, a replica, too few replicas, two slots). Without it,
-- one that fails midway keeps what it has written.
--
-- KEYS: the channel's hash, and for a publication with a key where that key is kept.
-- ARGV: operation, token, other tokens, fresh epoch, ttl (ms), then those of the operation, see below.
--
-- Fields of the hash: e epoch, s newest sequence, r token, o oldest sequence kept, b bytes kept, x when the expiry is set again,
-- n subscribers by node, and a field for each kept publication by its sequence. A stored publication is a version byte, 13 digits
-- of Redis's time in ms, and the record as it was given.
--
-- Numbers join text as %.14g, so sequences and times are written as %.0f. Epochs stay text.

local VERSION = '1'
local KEY_MS = 60000   -- how long an idempotency key is known
local TRIM_MAX = 1000  -- publications dropped by one call: 0.5 ms; one unpack takes several thousand

local channel, key = KEYS[1], KEYS[2]
local operation, token, others, fresh, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local function text(number)
  return string.format('%.0f', number)
end

-- The key comes first: a publication that is known changes nothing.
if key then
  local known = redis.call('GET', key)
  if known then
    return known
  end
end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local found = redis.call('HMGET', channel, 'e', 's', 'r', 'o', 'b', 'x', 'n')
local epoch, token_then, nodes = found[1], found[3], found[7] or ''
local newest, oldest, bytes = tonumber(found[2]), tonumber(found[4]), tonumber(found[5])
local renew_at = tonumber(found[6]) or 0

-- Every loss is the same transition: there is no epoch, or another Redis drew its sequences, and a new one begins.
local function begin()
  redis.call('DEL', channel)
  epoch, newest, oldest, bytes, renew_at = fresh, 0, 1, 0, 0
  -- Who reads it is no part of what is lost.
  redis.call('HSET', channel, 'e', epoch, 's', '0', 'r', token, 'o', '1', 'b', '0', 'n', nodes)
end

local function renew()
  renew_at = now + ttl / 4
  redis.call('PEXPIRE', channel, text(ttl))
  redis.call('HSET', channel, 'x', text(renew_at))
end

if not epoch then
  begin()
elseif token_then ~= token then
  if token_then and string.find(',' .. others .. ',', ',' .. token_then .. ',', 1, true) then
    -- The slot has moved here from another live master, with all that is in it.
    redis.call('HSET', channel, 'r', token)
  else
    begin()
  end
end

-- publish: count, bytes, PUBLISH or SPUBLISH, fingerprint, records (64 at most).
-- Returns the epoch, the first and the last sequence, and n; for a known key the text that is kept under it: fingerprint, id, n.
if operation == 'publish' then
  local count_max, bytes_max, send, fingerprint = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9]
  local first, stored = newest + 1, {}
  for at = 10, #ARGV do
    local publication = VERSION .. string.format('%013.0f', now) .. ARGV[at]
    stored[#stored + 1] = publication
    newest, bytes = newest + 1, bytes + #publication
  end

  -- The newest stays, however long it is, unless nothing is to be kept.
  local oldest_max = newest
  if count_max == 0 or bytes_max == 0 then
    oldest_max = newest + 1
  end
  local dropped, looked = {}, 0
  while oldest < oldest_max and looked < TRIM_MAX and (newest - oldest + 1 > count_max or bytes > bytes_max) do
    if oldest < first then
      dropped[#dropped + 1] = text(oldest)
      bytes = bytes - redis.call('HSTRLEN', channel, dropped[#dropped])
    else
      bytes = bytes - #stored[oldest - first + 1]
    end
    oldest, looked = oldest + 1, looked + 1
  end
  if #dropped > 0 then
    redis.call('HDEL', channel, unpack(dropped))
  end

  local fields = { 's', text(newest), 'o', text(oldest), 'b', text(bytes) }
  for sequence = math.max(first, oldest), newest do
    fields[#fields + 1] = text(sequence)
    fields[#fields + 1] = stored[sequence - first + 1]
  end
  redis.call('HSET', channel, unpack(fields))
  if now > renew_at then
    renew()
  end
  if key then
    redis.call('SET', key, fingerprint .. ' ' .. epoch .. '-' .. text(newest) .. ' ' .. nodes, 'PX', KEY_MS)
  end
  for at = 1, #stored do
    redis.call(send, channel, epoch .. '-' .. text(first + at - 1) .. ' ' .. stored[at])
  end
  return { epoch, first, newest, nodes }
end

-- open: node, its subscribers, the epoch and the sequence that it has, PUBLISH or SPUBLISH, nodes that are known to be dead.
-- Returns epoch, newest and oldest sequence, the time, n, and how many subscribers n said that there were. The nodes that have the
-- channel are told of another n, by a message that begins with n: what they know of each other is as old as their last opens.
local node, count, epoch_known, newest_known = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
local send, dead = ARGV[10], ',' .. (ARGV[11] or '') .. ','
if epoch == epoch_known and newest < newest_known then
  -- This Redis has gone back: its next sequences would be those of other publications.
  begin()
end
local left, before, own, has_changed = {}, 0, '0', false
for other, subscribers, until_then in string.gmatch(nodes, '([^:;]+):(%d+):(%d+);') do
  before = before + subscribers
  if other == node then
    own = subscribers
  elseif tonumber(until_then) > now and not string.find(dead, ',' .. other .. ',', 1, true) then
    left[#left + 1] = other .. ':' .. subscribers .. ':' .. until_then .. ';'
  else
    has_changed = true
  end
end
if count ~= '0' then
  left[#left + 1] = node .. ':' .. count .. ':' .. text(now + ttl) .. ';'
end
nodes = table.concat(left)
redis.call('HSET', channel, 'n', nodes)
renew()
if send and (has_changed or own ~= count) then
  redis.call(send, channel, 'n ' .. nodes)
end
return { epoch, newest, oldest, now, nodes, before }
