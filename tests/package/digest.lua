-- One number for all that databases 0 to 2 hold, and how many keys they are: keys, types, deadlines and values, whatever their order inside.
local function sorted(list)
	table.sort(list)
	return list
end

local function of_pairs(list)
	local found = {}
	for i = 1, #list, 2 do found[#found + 1] = #list[i] .. ':' .. list[i] .. list[i + 1] end
	return sorted(found)
end

local function flat(value)
	if type(value) ~= 'table' then return tostring(value) end
	local found = {}
	for i, part in ipairs(value) do
		part = flat(part)
		found[i] = #part .. ':' .. part
	end
	return table.concat(found, ',')
end

local function of_stream(key)
	local found = {flat(redis.call('XRANGE', key, '-', '+'))}
	for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
		found[#found + 1] = flat(of_pairs(group))
		for _, waiting in ipairs(redis.call('XPENDING', key, group[2], '-', '+', 100000)) do
			found[#found + 1] = waiting[1] .. waiting[2] .. waiting[4] -- not how long it waits
		end
	end
	return flat(found)
end

local read = {
	string = function(key) return redis.call('GET', key) end,
	list = function(key) return flat(redis.call('LRANGE', key, 0, -1)) end,
	set = function(key) return flat(sorted(redis.call('SMEMBERS', key))) end,
	zset = function(key) return flat(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')) end,
	hash = function(key) return flat(of_pairs(redis.call('HGETALL', key))) end,
	stream = of_stream,
}

local sum, count = '', 0
for db = 0, 2 do
	redis.call('SELECT', db)
	for _, key in ipairs(sorted(redis.call('KEYS', '*'))) do
		local kind = redis.call('TYPE', key).ok
		sum = redis.sha1hex(sum .. flat({db, key, kind, redis.call('PEXPIRETIME', key), read[kind](key)}))
		count = count + 1
	end
end
return {sum, count}
