-- Leases tokens of a limit to a node, for many keys at once, on the server's own clock.
-- KEYS: one for each key.
-- ARGV: algorithm, limit, per, capacity, lease (times in microseconds), then for each key what it
-- asks for, what goes back, since when all of that was leased by the server's clock, and what was
-- used without a lease.
-- Returns for each key: tokens, microseconds until there may be more, microseconds they are good
-- for; and last what the server's clock shows.
local limit, per, capacity = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lease = tonumber(ARGV[5])
-- Counted from 2025, so that fractions of a microsecond fit into the number.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1735689600) * 1000000 + tonumber(time[2])

-- One number: when the bucket will be full again (GCRA's theoretical arrival time). What goes back
-- is less by all that has flowed in since: the bucket had room for it while the lease was out, and
-- others may have used that.
local function bucket(key, asked, back, since, debt)
  local gap = per / limit
  local full = math.max(tonumber(redis.call('GET', key) or now), now)
  if since <= now then
    full = full - math.max(back * gap - (now - since), 0)
  end
  full = math.max(full, now) + debt * gap
  local left = capacity - (full - now) / gap
  local tokens = math.max(math.min(asked, math.floor(left + 0.000001)), 0)
  full = full + tokens * gap
  left = left - tokens
  if full > now then
    redis.call('SET', key, string.format('%.3f', full), 'PX', math.ceil((full - now) / 1000) + 1000)
  else
    redis.call('DEL', key)
  end
  return tokens, math.ceil(math.max(1 - left, 0) * gap), lease
end

-- The number of the window, and what it has used. What goes back is taken only where it must
-- have been leased in this window.
local function fixed(key, asked, back, since, debt)
  local window = math.floor(now / per)
  local number, used = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
  used = tonumber(number) == window and tonumber(used) or 0
  if math.floor(since / per) == window then
    used = math.max(used - back, 0)
  end
  used = used + debt
  local tokens = math.max(math.min(asked, limit - used), 0)
  used = used + tokens
  local rest = (window + 1) * per - now
  redis.call('SET', key, string.format('%d:%d', window, used), 'PX', math.ceil(rest / 1000) + 1000)
  return tokens, used < limit and 0 or math.ceil(rest), math.min(lease, math.floor(rest))
end

-- A hash by 64ths of the window. A slot counts until its youngest token, had it been used at
-- the end of its lease, is a whole window old.
local function sliding(key, asked, back, since, debt)
  local width = per / 64
  local begin = now - per - lease
  local slots, used = {}, 0
  local stored = redis.call('HGETALL', key)
  for at = 1, #stored, 2 do
    local slot, count = tonumber(stored[at]), tonumber(stored[at + 1])
    if (slot + 1) * width <= begin then
      redis.call('HDEL', key, stored[at])
    else
      slots[#slots + 1] = { slot, count }
      used = used + count
    end
  end
  table.sort(slots, function(a, b) return a[1] < b[1] end)
  -- Out of the oldest slots that it can have been leased in: the younger count for longer.
  for _, slot in ipairs(slots) do
    if back > 0 and slot[1] >= math.floor(since / width) then
      local taken = math.min(back, slot[2])
      redis.call('HINCRBY', key, string.format('%d', slot[1]), -taken)
      slot[2], back, used = slot[2] - taken, back - taken, used - taken
    end
  end
  local tokens = math.max(math.min(asked, limit - used - debt), 0)
  used = used + debt + tokens
  if debt + tokens > 0 then
    redis.call('HINCRBY', key, string.format('%d', math.floor(now / width)), debt + tokens)
  end
  redis.call('PEXPIRE', key, math.ceil((per + lease + width) / 1000) + 1000)
  local wait = 0
  if used >= limit then
    wait = width
    for _, slot in ipairs(slots) do
      if slot[2] > 0 then
        wait = (slot[1] + 1) * width - begin
        break
      end
    end
  end
  return tokens, math.ceil(wait), lease
end

local count = ({ bucket = bucket, fixed = fixed, sliding = sliding })[ARGV[1]]
local answer = {}
for i, key in ipairs(KEYS) do
  local at = 5 + (i - 1) * 4
  local tokens, wait, good = count(key, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]),
    tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]))
  answer[#answer + 1] = tokens
  answer[#answer + 1] = wait
  answer[#answer + 1] = good
end
answer[#answer + 1] = now
return answer
