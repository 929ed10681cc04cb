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
-- n subscribers by node, w whether it was last occupied (o), or vacated and that is not reported (v) or is (V), when, and by which
-- node (KIND TIME NODE; no node if no webhook is due, or the node has heard it), c the node that was the last to change the number of
-- subscribers, and a field for each kept publication by its sequence. A stored publication is a version byte, 13 digits of Redis's
-- time in ms, and the record as it was given.
--
-- Numbers join text as %.14g, so sequences and times are written as %.0f. Epochs stay text.

local VERSION = '1'
local KEY_MS = 60000   -- how long an idempotency key is known
local RETURN_MS = 3000 -- a departure is reported after this, unless it is over by then
local KEPT_MS = 60000  -- what a node may not have heard is kept; longer than one that lives takes to connect again and ask
local TRIM_MAX = 1000  -- publications dropped by one call: 0.5 ms; one unpack takes several thousand

-- What a node that has died was to report, and may not have, is reported by another: who came within this of its last call, and
-- that it had occupied a channel so long before it was known to be dead, which takes 5 s.
local UNSENT_MS = 1000
local UNSENT_OCCUPIED_MS = 10000

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

-- members: another hash, of who is in a channel: by field (see records.rs) what each node has, as NODE:CONNECTIONS;… and info; n,
-- the nodes that have anybody, as NODE:UNTIL;…; v, a number that is another one after each change; e, another text for each hash
-- that begins; r, members that have gone of which that is not reported yet; d, by node what its last call has decided, which one that
-- was, and who came a moment before that; l, those that have gone though the hash never had them.
-- ARGV: node, how long it is believed (ms; 0: it has nobody; -1: it ends, and sends what waits), whether what it does not say now is
-- gone, PUBLISH or SPUBLISH, the channel's name in Redis, if its last call had no answer which one had (0: none), e as it knows it,
-- until when it may be given departures to report, the number of members that it knows to have gone, of how many of them that nobody
-- has reported it, and them, the latter first; then of each record the field, connections or nothing, info or nothing, and of a
-- member whether it has heard that the hash has it (1; 2 if others may have swept it since).
-- Nodes whose time is over are swept. The nodes that have the channel are told of other records, by a message that begins with u.
-- Returns v, whether the node was known, the members that have come to the first node, those that have left the last one, e, those
-- whose departure the node is to report now, and which call this is.
--
-- Each coming and going is answered to one node, the one that made the change, and again if it has not heard that. Who has left the
-- last node and comes back before that is reported has never been away, whenever that is: that it is reported and that it is over are
-- steps of this script. It is reported by the node that is the first to ask after RETURN_MS, so one that dies loses nothing. Who was
-- not answered at once is given none: others who wait for Redis too may be about to say who has come back. What a node that has died
-- may have had no time to report is reported by the one that sweeps it, perhaps once more.
--
-- Where Redis has lost its memory, what the node had heard counts: a member that it had comes by no webhook, and one that it had and
-- that has left since has gone, unless another node has said so before. What is true by then goes before what happened: who is there
-- has not gone. Where a departure that the node waits to report may have been reported by another just before, who comes back comes,
-- perhaps once more.
if operation == 'members' then
  local node, live, whole, send, name = ARGV[6], tonumber(ARGV[7]), ARGV[8] == '1', ARGV[9], ARGV[10]
  local heard, reports = ARGV[11], now <= (tonumber(ARGV[13]) or 0)
  local doubtful, first = 16 + tonumber(ARGV[15]), 16 + tonumber(ARGV[14])
  local had = redis.call('HMGET', channel, 'n', 'v', 'r', 'e', 'd', 'l')
  local version, was_known = tonumber(had[2]), 0
  local call = clock[1] .. '.' .. clock[2]
  local born = had[4] or call
  local is_lost = born ~= ARGV[12]
  local left, lives, silent = {}, {}, {}
  for other, until_then in string.gmatch(had[1] or '', '([^:;]+):(%d+);') do
    if other == node then
      was_known = 1
    elseif tonumber(until_then) > now then
      left[#left + 1] = other .. ':' .. until_then .. ';'
      lives[other] = true
    else
      silent[other] = true
    end
  end
  local told, came, left_last, gone = {}, {}, {}, {}
  local recent, is_recent_new = had[3] and cmsgpack.unpack(had[3]) or {}, false
  -- The members that have gone though the hash did not know that: when that was, and whether it may have been reported before.
  local lost, is_lost_new = {}, false
  for user, entry in pairs(had[6] and cmsgpack.unpack(had[6]) or {}) do
    if now - entry[1] < KEPT_MS then
      lost[user] = entry
    else
      is_lost_new = true
    end
  end
  local decided, unheard, unsent, arrived, is_decided_new = {}, { {}, {}, {} }, {}, {}, false
  for other, entry in pairs(had[5] and cmsgpack.unpack(had[5]) or {}) do
    if other == node then
      is_decided_new = true
      if heard ~= '' and entry[4] ~= heard then
        unheard = { entry[2], entry[3], entry[5] }
      end
      for user, at in pairs(entry[6] or {}) do
        if now - at < UNSENT_MS then
          arrived[user] = at
        end
      end
    elseif silent[other] then
      is_decided_new = true
      unsent[#unsent + 1] = entry
    elseif lives[other] or now - entry[1] < KEPT_MS then
      decided[other] = entry
    else
      is_decided_new = true
    end
  end
  for _, entry in ipairs(unsent) do
    for user in pairs(entry[6] or {}) do
      table.insert(unheard[1], user)
    end
    for _, user in ipairs(entry[5] or {}) do
      table.insert(unheard[3], user)
    end
  end
  local function leave(user)
    left_last[#left_last + 1] = user
    recent[user], is_recent_new = now, true
  end
  -- Who is not there, and the hash does not know that it has gone: it has forgotten.
  local function miss(user, may_be_reported)
    if is_lost and not recent[user] and not lost[user] then
      leave(user)
      lost[user], is_lost_new = { now, may_be_reported }, true
    end
  end
  -- Takes the entries out for which drops says so, and adds one.
  local function change(field, value, drops, connections, info, known)
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
      local was_away, missed, was_there = recent[user], lost[user], is_lost and known == '1'
      recent[user], is_recent_new = nil, is_recent_new or was_away
      local has_come
      if value then
        leave(user)
      elseif was_away then
        -- It has never been away, as far as that is known.
        has_come = missed and missed[2] and not was_there
      else
        has_come = missed or not was_there
      end
      if has_come then
        came[#came + 1] = user
      end
      if now_value and missed then
        lost[user], is_lost_new = nil, true
      end
    end
  end
  local said = {}
  for at = first, #ARGV, 4 do
    said[ARGV[at]] = true
  end
  if next(silent) or (whole and was_known == 1) then
    local all = redis.call('HGETALL', channel)
    for at = 1, #all, 2 do
      local field = all[at]
      if field == 'a' or string.find(field, '^[mu]') then
        change(field, all[at + 1], function(other)
          return silent[other] or (whole and other == node and not said[field])
        end, '', '', '')
      end
    end
  end
  for at = first, #ARGV, 4 do
    local field, known = ARGV[at], ARGV[at + 3]
    local value, so_far = redis.call('HGET', channel, field), #told
    change(field, value, function(other) return other == node end, ARGV[at + 1], ARGV[at + 2], known)
    if not value and #told == so_far and live >= 0 then
      -- Gone before it was ever said: the node waits to hear it.
      told[#told + 1] = #field .. ':' .. field .. '0:'
      if known ~= '' then
        miss(string.sub(field, 2), false)
      end
    end
  end
  local function is_there(user)
    return redis.call('HGET', channel, 'm' .. user)
  end
  for at = 16, is_lost and first - 1 or 0 do
    if not is_there(ARGV[at]) then
      miss(ARGV[at], at >= doubtful)
    end
  end
  -- What the node has not heard, as far as it is still so.
  local function set(members)
    local is_in = {}
    for _, user in ipairs(members) do
      is_in[user] = true
    end
    return is_in
  end
  local is_come, is_left = set(came), set(left_last)
  for _, user in ipairs(unheard[1]) do
    if not is_come[user] and (recent[user] or is_there(user)) then
      came[#came + 1] = user
      is_come[user] = true
    end
  end
  for _, user in ipairs(unheard[2]) do
    if not is_left[user] and recent[user] then
      left_last[#left_last + 1] = user
    end
  end
  for _, user in ipairs(unheard[3]) do
    if not recent[user] and not is_there(user) then
      gone[#gone + 1] = user
    end
  end
  -- A node that ends does not wait for anybody's return: who comes back comes.
  local is_ending = live < 0
  local own = is_ending and set(left_last) or {}
  for at = 16, is_ending and first - 1 or 0 do
    own[ARGV[at]] = true
  end
  for user, at in pairs(recent) do
    if own[user] or (reports and now - at >= RETURN_MS) then
      gone[#gone + 1] = user
      recent[user], is_recent_new = nil, true
    end
  end
  -- And what is not to be reported yet.
  for at = 16, first - 1 do
    left_last[#left_last + 1] = ARGV[at]
  end
  local waits, is_waiting = {}, {}
  for _, user in ipairs(left_last) do
    if recent[user] and not is_waiting[user] then
      waits[#waits + 1] = user
      is_waiting[user] = true
    end
  end
  if #told > 0 then
    -- Where the hash is new, later than any number it had before.
    version = version and version + 1 or now
  end
  for _, user in ipairs(came) do
    arrived[user] = now
  end
  if next(arrived) or #waits > 0 or #gone > 0 then
    decided[node], is_decided_new = { now, came, waits, call, gone, arrived }, true
  end
  if live > 0 then
    left[#left + 1] = node .. ':' .. text(now + live) .. ';'
  end
  local function keep(field, members)
    if next(members) then
      redis.call('HSET', channel, field, cmsgpack.pack(members))
    else
      redis.call('HDEL', channel, field)
    end
  end
  if is_recent_new then
    keep('r', recent)
  end
  if is_decided_new then
    keep('d', decided)
  end
  if is_lost_new then
    keep('l', lost)
  end
  local is_kept = #left > 0 or next(decided) or next(recent) or next(lost)
  if #left > 0 then
    redis.call('HSET', channel, 'n', table.concat(left), 'e', born)
    redis.call('PEXPIRE', channel, text(math.max(2 * live, 150000)))
  elseif is_kept then
    redis.call('HDEL', channel, 'n')
    redis.call('HSET', channel, 'e', born)
    redis.call('PEXPIRE', channel, KEPT_MS)
  else
    redis.call('DEL', channel)
  end
  if #told > 0 then
    if is_kept then
      redis.call('HSET', channel, 'v', text(version))
    end
    redis.call(send, name, 'u ' .. text(version) .. ' ' .. table.concat(told))
  end
  return { version or 0, was_known, came, waits, born, gone, call }
end

-- vacate: node, until when it may be told to report. A channel of which it has heard that it is vacated is reported to be, unless
-- somebody has come back.
-- Returns whether it is (1, 0, and 2 if that was not answered in time), and the time. Asked again, the answer is the same while
-- nobody has.
if operation == 'vacate' then
  local found = redis.call('HMGET', channel, 'w', 'n')
  local kind, by = string.match(found[1] or '', '^(%a) %d+ (.*)$')
  local is_vacated = by == ARGV[6] and kind ~= 'o' or not kind and (found[2] or '') == ''
  if is_vacated and now > (tonumber(ARGV[7]) or now) then
    return { 2, now }
  end
  if is_vacated and kind == 'v' then
    redis.call('HSET', channel, 'w', 'V ' .. text(now) .. ' ' .. by)
  end
  return { is_vacated and 1 or 0, now }
end

local found = redis.call('HMGET', channel, 'e', 's', 'r', 'o', 'b', 'x', 'n')
local epoch, token_then, nodes = found[1], found[3], found[7] or ''
local newest, oldest, bytes = whole(found[2]), whole(found[4]), whole(found[5])
local renew_at = whole(found[6]) or 0

-- Every loss is the same transition: there is no epoch, or another Redis drew its sequences, and a new one begins.
local function begin()
  local webhooks = redis.call('HMGET', channel, 'w', 'c')
  redis.call('DEL', channel)
  epoch, newest, oldest, bytes, renew_at = fresh, 0, 1, 0, 0
  -- Who reads it is no part of what is lost.
  redis.call('HSET', channel, 'e', epoch, 's', '0', 'r', token, 'o', '1', 'b', '0', 'n', nodes)
  for at, field in ipairs({ 'w', 'c' }) do
    if webhooks[at] then
      redis.call('HSET', channel, field, webhooks[at])
    end
  end
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
    -- The newest is kept if any is.
    or (operation == 'open' and oldest <= newest and redis.call('HSTRLEN', channel, text(newest)) == 0)
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

-- Whether this Redis has gone back behind what a node has: its next sequences would be those of other publications.
local function is_behind(epoch_known, newest_known)
  return epoch == epoch_known and newest < tonumber(newest_known)
end

-- publish: count, bytes, PUBLISH or SPUBLISH, fingerprint, the epoch and the sequence that the node has, records (256 at most, since
-- one unpack takes several thousand values).
-- Returns the epoch, the first and the last sequence, and n; for a known key the text that is kept under it: fingerprint, id, n.
if operation == 'publish' then
  local count_max, bytes_max, send, fingerprint = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9]
  if is_behind(ARGV[10], ARGV[11]) then
    begin()
  end
  local first, stored = newest + 1, {}
  for at = 12, #ARGV do
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

-- open: node, its subscribers, the epoch and the sequence that it has, PUBLISH or SPUBLISH, nodes that are known to be dead, and how
-- many subscribers it said when it last heard an answer (-: it ends, and sends what waits).
-- Returns epoch, newest and oldest sequence, the time, n, whether the channel was occupied (1) or vacated (2) by what this node has
-- said, unless that was not reported to be vacated, and whether the number of subscribers is another one by that. That a node had
-- occupied it that has died since is answered to the first that says so.
-- The nodes that have the channel are told of another n, by a message that begins with n: what they know of each other is as old as
-- their last opens.
--
-- If n has another number of the node than it has heard, it has not heard the answer, or Redis has lost its memory. What the lost
-- call has done is answered again, if no other node has done the opposite since. Without memory, what the node had counts: the first
-- that had subscribers and has none where nobody has any says that the channel is vacated, and one that still has them says nothing.
local node, count = ARGV[6], ARGV[7]
local send, dead = ARGV[10], ',' .. (ARGV[11] or '') .. ','
if is_behind(ARGV[8], ARGV[9]) then
  begin()
end
local function is_dead(other)
  return string.find(dead, ',' .. other .. ',', 1, true)
end
local left, before, after, own, has_changed = {}, 0, tonumber(count), '0', false
for other, subscribers, until_then in string.gmatch(nodes, '([^:;]+):(%d+):(%d+);') do
  before = before + subscribers
  if other == node then
    own = subscribers
  elseif tonumber(until_then) > now and not is_dead(other) then
    left[#left + 1] = other .. ':' .. subscribers .. ':' .. until_then .. ';'
    after = after + subscribers
  else
    has_changed = true
  end
end
if count ~= '0' then
  left[#left + 1] = node .. ':' .. count .. ':' .. text(now + ttl) .. ';'
end
nodes = table.concat(left)
local fields = { 'n', nodes }

local is_ending = ARGV[12] == '-'
local heard = not is_ending and ARGV[12] or own
local is_unheard = own ~= heard
local webhooks = redis.call('HMGET', channel, 'w', 'c')
local kind, at, by = string.match(webhooks[1] or '', '^(%a) (%d+) (.*)$')
local changer = webhooks[2]
local is_mine = by == node and is_unheard
local is_lost = is_unheard and not kind and heard ~= '0'
local occupancy = 0
local function decide(kind_now, time, node_now)
  fields[#fields + 1] = 'w'
  fields[#fields + 1] = kind_now .. ' ' .. time .. ' ' .. node_now
  occupancy = node_now == '' and 0 or kind_now == 'o' and 1 or 2
end
if before > 0 and after == 0 then
  -- That it was occupied was not reported: nor is this, and it is as if it had been.
  local is_silent = kind == 'o' and is_mine
  decide((is_ending or is_silent) and 'V' or 'v', text(now), is_silent and '' or node)
elseif before == 0 and after > 0 then
  if not is_lost then
    decide('o', text(now), kind == 'v' and '' or node)
  end
elseif kind == 'o' and by ~= '' and after > 0 and is_dead(by) and now - at < UNSENT_OCCUPIED_MS then
  decide('o', at, node)
elseif is_mine and kind == (after > 0 and 'o' or 'v') then
  occupancy = after > 0 and 1 or 2
elseif is_lost and after == 0 then
  decide('v', text(now), node)
elseif is_ending and kind == 'v' and by == node then
  decide('V', at, '')
elseif by == node and kind == 'o' and not is_unheard then
  decide(kind, at, '')
end

local is_other_number = before ~= after and not (is_lost and heard == count and not changer)
if is_unheard and before == after then
  is_other_number = changer == node or (not changer and heard ~= count)
end
if is_other_number and changer ~= node then
  fields[#fields + 1] = 'c'
  fields[#fields + 1] = node
end
redis.call('HSET', channel, unpack(fields))
renew()
if send and (has_changed or own ~= count or is_unheard) then
  redis.call(send, channel, 'n ' .. nodes)
end
return { epoch, newest, oldest, now, nodes, occupancy, is_other_number and 1 or 0 }
