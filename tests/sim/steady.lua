-- Stands before each script when one seed is to be walked twice alike: time is that of the nodes, and what Redis does in
-- an order, or with somebody, that it draws itself is done in one that follows from what was done before.
local redis = (function(real)
  local function sorted(members)
    table.sort(members)
    return members
  end
  local function members(key)
    return sorted(real.call('SMEMBERS', key))
  end
  -- So many members, beginning with another one each time.
  local function some(key, count)
    local all, found = members(key), {}
    if #all == 0 then return found end
    local first = real.call('INCR', '{draws}') % #all
    for at = 0, math.min(tonumber(count), #all) - 1 do
      found[at + 1] = all[(first + at) % #all + 1]
    end
    return found
  end
  local function fields(key)
    local flat, by_name, names, found = real.call('HGETALL', key), {}, {}, {}
    for at = 1, #flat, 2 do
      names[#names + 1], by_name[flat[at]] = flat[at], flat[at + 1]
    end
    for at, name in ipairs(sorted(names)) do
      found[2 * at - 1], found[2 * at] = name, by_name[name]
    end
    return found
  end
  local own = {
    TIME = function() return real.call('LRANGE', '{time}', 0, 1) end,
    SMEMBERS = members,
    SRANDMEMBER = some,
    SPOP = function(key, count)
      local found = some(key, count)
      if #found > 0 then real.call('SREM', key, unpack(found)) end
      return found
    end,
    SSCAN = function(key) return { '0', members(key) } end,
    HGETALL = fields,
    HSCAN = function(key) return { '0', fields(key) } end,
    HVALS = function(key)
      local flat, found = fields(key), {}
      for at = 2, #flat, 2 do found[#found + 1] = flat[at] end
      return found
    end,
  }
  local function call(name, ...)
    local instead = own[name]
    if instead then return instead(...) end
    return real.call(name, ...)
  end
  return { call = call, error_reply = real.error_reply, status_reply = real.status_reply, sha1hex = real.sha1hex }
end)(redis)
