-- Data of every type in three databases: small values, and large ones that Sett spreads over entries.
local function names(prefix, count)
	local found = {}
	for i = 1, count do found[i] = prefix .. i end
	return found
end

for db = 0, 2 do
	redis.call('SELECT', db)
	for i = 1, 300 do
		redis.call('SET', 'string:' .. i, string.rep('v', i * 7) .. db)
		redis.call('SET', 'deadline:' .. i, i, 'PXAT', 4102444800000 + i)
		redis.call('RPUSH', 'list:' .. i, i, 'x', db)
	end
	redis.call('SET', 'large', string.rep('large', 200000))
	redis.call('SET', 'binary', '\0\1\r\n\255')
	redis.call('INCRBYFLOAT', 'float', '3.25')
	redis.call('SETBIT', 'bits', 70000, 1)
	redis.call('PFADD', 'hyperloglog', unpack(names('seen', 3000)))
	redis.call('GEOADD', 'places', 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania')
	for _, count in ipairs({5, 3000}) do
		redis.call('RPUSH', 'list of ' .. count, unpack(names('element', count)))
		redis.call('SADD', 'set of ' .. count, unpack(names('member', count)))
		redis.call('SADD', 'numbers, ' .. count, unpack(names('', count)))
		for i = 1, count do
			redis.call('HSET', 'hash of ' .. count, 'field' .. i, 'value' .. i)
			redis.call('ZADD', 'zset of ' .. count, i / 8, 'member' .. i)
			redis.call('XADD', 'stream of ' .. count, i .. '-1', 'number', i, 'text', 'entry')
		end
		redis.call('XGROUP', 'CREATE', 'stream of ' .. count, 'group', '0')
		redis.call('XREADGROUP', 'GROUP', 'group', 'reader', 'COUNT', 4, 'STREAMS', 'stream of ' .. count, '>')
		redis.call('XACK', 'stream of ' .. count, 'group', '2-1')
	end
end
return 'OK'
