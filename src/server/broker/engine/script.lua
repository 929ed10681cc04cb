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
local RETURN_MS = 2500 -- who comes back by then has not gone for webhooks, which wait 3 s
local TRIM_MAX = 1000  -- publications dropped by one call: 0.5 ms; one unpack takes several thousand

local channel, key = KEYS[1], KEYS[2]
local operation, token, others, fresh, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local function text(number)
  return string.format('%.0f', number)
end

-- A number that counts something; false if it is none. Above it, 1 more would be the same in time.
local WHOLE_MAX = 2 ^ 52
local function whole(found)
  local number = tonumber(found)
  return number and number >= 0 and number < WHOLE_MAX and number == math.floor(number) and number
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

-- members: another hash, of who is in a channel: by field (see records.rs) what each node has, as NODE:CONNECTIONS;… and info; n, the
-- nodes that have anybody, as NODE:UNTIL;…; v, a number that is another one after each change; r, members that have just gone.
-- ARGV: node, how long it is believed (ms; 0: it has nobody), whether what it does not say now is gone, PUBLISH or SPUBLISH, the
-- channel's name in Redis, then field, connections or nothing and info or nothing of each record.
-- Nodes whose time is over are swept. The nodes that have the channel are told of other records, by a message that begins with u.
-- Returns v, whether the node was known, and the members that have come to the first node, unless they had just gone, and gone from
-- the last.
if operation == 'members' then
  local node, live, whole, send, name = ARGV[6], tonumber(ARGV[7]), ARGV[8] == '1', ARGV[9], ARGV[10]
  local had = redis.call('HMGET', channel, 'n', 'v', 'r')
  local version, known = tonumber(had[2]), 0
  local left, silent = {}, {}
  for other, until_then in string.gmatch(had[1] or '', '([^:;]+):(%d+);') do
    if other == node then
      known = 1
    elseif tonumber(until_then) > now then
      left[#left + 1] = other .. ':' .. until_then .. ';'
    else
      silent[other] = true
    end
  end
  local told, came, gone = {}, {}, {}
  local recent, is_recent_new = {}, false
  for user, at in pairs(had[3] and cmsgpack.unpack(had[3]) or {}) do
    if now - at < RETURN_MS then
      recent[user] = at
    else
      is_recent_new = true
    end
  end
  -- Takes the entries out for which drops says so, and adds one.
  local function change(field, value, drops, connections, info)
    local entries, info_then = string.match(value or '', '^([^ ]*) ?(.*)$')
    local kept = {}
    for other, count in string.gmatch(entries, '([^:;]+):(%d+);') do
      if not drops(other) then
        kept[#kept + 1] = other .. ':' .. count .. ';'
      end
    end
    -- A member keeps the info that it came with, any other has its latest.
    if #kept == 0 or (connections ~= '' and string.sub(field, 1, 1) ~= 'm') then
      info_then = info
    end
    if connections ~= '' then
      kept[#kept + 1] = node .. ':' .. connections .. ';'
    end
    local now_value = #kept > 0 and table.concat(kept) .. ' ' .. info_then or false
    if now_value == value then
      return
    end
    if now_value then
      redis.call('HSET', channel, field, now_value)
    else
      redis.call('HDEL', channel, field)
    end
    local text_now = now_value or ''
    told[#told + 1] = #field .. ':' .. field .. #text_now .. ':' .. text_now
    if string.sub(field, 1, 1) == 'm' and not (value and now_value) then
      local user = string.sub(field, 2)
      if value then
        gone[#gone + 1] = user
        recent[user], is_recent_new = now, true
      elseif recent[user] then
        recent[user], is_recent_new = nil, true
      else
        came[#came + 1] = user
      end
    end
  end
  local said = {}
  for at = 11, #ARGV, 3 do
    said[ARGV[at]] = true
  end
  if next(silent) or (whole and known == 1) then
    local all = redis.call('HGETALL', channel)
    for at = 1, #all, 2 do
      local field = all[at]
      if field ~= 'n' and field ~= 'v' then
        change(field, all[at + 1], function(other)
          return silent[other] or (whole and other == node and not said[field])
        end, '', '')
      end
    end
  end
  for at = 11, #ARGV, 3 do
    local field = ARGV[at]
    local value, so_far = redis.call('HGET', channel, field), #told
    change(field, value, function(other) return other == node end, ARGV[at + 1], ARGV[at + 2])
    if not value and #told == so_far then
      -- Gone before it was ever said: the node waits to hear it.
      told[#told + 1] = #field .. ':' .. field .. '0:'
    end
  end
  if live > 0 then
    left[#left + 1] = node .. ':' .. text(now + live) .. ';'
  end
  if is_recent_new then
    redis.call('HDEL', channel, 'r')
    if next(recent) then
      redis.call('HSET', channel, 'r', cmsgpack.pack(recent))
    end
  end
  if #left > 0 then
    redis.call('HSET', channel, 'n', table.concat(left))
    redis.call('PEXPIRE', channel, text(math.max(2 * live, 150000)))
  elseif next(recent) then
    redis.call('HDEL', channel, 'n')
    redis.call('PEXPIRE', channel, RETURN_MS)
  else
    redis.call('DEL', channel)
  end
  if #told > 0 then
    -- Where the hash is new, later than any number it had before.
    version = version and version + 1 or now
    if #left > 0 or next(recent) then
      redis.call('HSET', channel, 'v', text(version))
    end
    redis.call(send, name, 'u ' .. text(version) .. ' ' .. table.concat(told))
  end
  return { version or 0, known, came, gone }
end

local found = redis.call('HMGET', channel, 'e', 's', 'r', 'o', 'b', 'x', 'n')
local epoch, token_then, nodes = found[1], found[3], found[7] or ''
local newest, oldest, bytes = whole(found[2]), whole(found[4]), whole(found[5])
local renew_at = whole(found[6]) or 0

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

-- What somebody else has written there is a loss too: nothing can be counted on from it.
local function is_damaged()
  local is_counted = newest and oldest and bytes and oldest <= newest + 1
  return not is_counted or #epoch > 16 or not string.find(epoch, '^%x+$')
    or (operation == 'open' and newest - oldest >= redis.call('HLEN', channel))
end

-- The token of this Redis: who calls may not know yet that it has another one, when other nodes do.
local function own_token()
  local info = token ~= 'trusted' and redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x)') or token
end

if not epoch or is_damaged() then
  begin()
elseif token_then ~= token then
  local own = own_token()
  if token_then == own then
    token = own
  elseif token_then and string.find(',' .. others .. ',', ',' .. token_then .. ',', 1, true) then
    -- The slot has moved here from another live master, with all that is in it.
    redis.call('HSET', channel, 'r', token)
  else
    begin()
  end
end

-- publish: count, bytes, PUBLISH or SPUBLISH, fingerprint, records (256 at most, since one unpack takes several thousand values).
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
-- Returns epoch, newest and oldest sequence, the time, n, how many subscribers n said that there were, and whether it is 1 that they
-- had just gone. The nodes that have the
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
local after, returned = 0, 0
for subscribers in string.gmatch(nodes, ':(%d+):') do
  after = after + subscribers
end
if before > 0 and after == 0 then
  redis.call('HSET', channel, 'g', text(now))
elseif before == 0 and after > 0 then
  local gone_at = redis.call('HGET', channel, 'g')
  returned = gone_at and now - gone_at < RETURN_MS and 1 or 0
end
return { epoch, newest, oldest, now, nodes, before, returned }
