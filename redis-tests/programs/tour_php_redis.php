<?php
// phpredis: every type, pipelines, MULTI and WATCH, publish and subscribe, blocking, streams, scripts, client-side caching.
[, $phase, $port] = $argv;

function same($actual, $wanted, string $what): void
{
	if ($actual !== $wanted) {
		echo "FAILED: $what: ", json_encode($actual), ', not ', json_encode($wanted), "\n";
		exit(1);
	}
}

function open(): Redis
{
	global $port;
	$redis = new Redis();
	$redis->connect('127.0.0.1', (int)$port);
	$redis->setOption(Redis::OPT_READ_TIMEOUT, 60);
	return $redis;
}

function types(Redis $r): void
{
	same($r->set('s', 'v', ['nx', 'ex' => 100]), true, 'SET');
	same($r->mGet(['s', 'absent']), ['v', false], 'MGET');
	same($r->incrByFloat('f', 1.5), 1.5, 'INCRBYFLOAT');
	same($r->setBit('bits', 7, true), 0, 'SETBIT');
	same($r->hMSet('h', ['a' => '1', 'b' => '2']), true, 'HMSET');
	same($r->hGetAll('h'), ['a' => '1', 'b' => '2'], 'HGETALL');
	same($r->rPush('l', '1', '2', '3'), 3, 'RPUSH');
	same($r->rPopLPush('l', 'm'), '3', 'RPOPLPUSH');
	same($r->lRange('l', 0, -1), ['1', '2'], 'LRANGE');
	same($r->sAdd('set', 'x', 'y'), 2, 'SADD');
	$members = $r->sMembers('set');
	sort($members);
	same($members, ['x', 'y'], 'SMEMBERS');
	same($r->zAdd('z', 1, 'one', 2.5, 'two'), 2, 'ZADD');
	same($r->zRange('z', 0, -1, true), ['one' => 1.0, 'two' => 2.5], 'ZRANGE');
	same($r->pfAdd('hll', ['a', 'b']), 1, 'PFADD');
	same($r->pfCount('hll'), 2, 'PFCOUNT');
	same($r->geoAdd('geo', 13.361389, 38.115556, 'Palermo'), 1, 'GEOADD');
	same($r->geoRadius('geo', 13, 38, 100, 'km'), ['Palermo'], 'GEORADIUS');
	same($r->restore('copy', 0, $r->dump('h')), true, 'RESTORE');
	same($r->hGet('copy', 'b'), '2', 'what was restored');
}

function together(Redis $r): void
{
	same($r->pipeline()->set('p', '1')->incr('p')->get('p')->exec(), [true, 2, '2'], 'a pipeline');
	same($r->multi()->incr('p')->incr('p')->exec(), [3, 4], 'MULTI');
	$r->watch('p');
	open()->set('p', 'changed');
	same($r->multi()->get('p')->exec(), false, 'a watched key has changed');
	$sha = $r->script('load', "return redis.call('INCRBY', KEYS[1], ARGV[1])");
	same($r->evalSha($sha, ['counter', 5], 1), 5, 'EVALSHA');
	for ($i = 0; $i < 500; $i++)
		$r->set("scan:$i", "$i");
	$r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
	$found = [];
	for ($cursor = null; ($keys = $r->scan($cursor, 'scan:*', 50)) !== false;)
		$found += array_flip($keys);
	same(count($found), 500, 'SCAN');
}

// A child listens, and says what it heard in a key.
function listening(Redis $r): void
{
	$child = pcntl_fork();
	if ($child === 0) {
		$other = open();
		open()->subscribe(['one', 'two'], function ($ear, $channel, $text) use ($other) {
			$other->rPush('heard', "$channel $text");
			posix_kill(posix_getpid(), SIGKILL);
		});
	}
	while ($r->publish('one', 'hello') === 0)
		usleep(10000);
	same($r->blPop(['heard'], 30), ['heard', 'one hello'], 'SUBSCRIBE');
	pcntl_waitpid($child, $status);
}

function waiting(Redis $r): void
{
	$child = pcntl_fork();
	if ($child === 0) {
		open()->rPush('answer', implode(' ', open()->blPop(['queue:a', 'queue:b'], 30)));
		posix_kill(posix_getpid(), SIGKILL);
	}
	while ($r->info()['blocked_clients'] != 1)
		usleep(10000);
	$r->rPush('queue:b', 'job');
	same($r->blPop(['answer'], 30), ['answer', 'queue:b job'], 'BLPOP');
	pcntl_waitpid($child, $status);
	same($r->bzPopMin(['none'], 1), [], 'its time ends');
}

function streams(Redis $r): void
{
	$id = $r->xAdd('stream', '*', ['a' => '1']);
	same($r->xGroup('CREATE', 'stream', 'group', '0'), true, 'XGROUP');
	same($r->xReadGroup('group', 'me', ['stream' => '>'], 10), ['stream' => [$id => ['a' => '1']]], 'XREADGROUP');
	same($r->xPending('stream', 'group')[0], 1, 'XPENDING');
	same($r->xClaim('stream', 'group', 'you', 0, [$id], []), [$id => ['a' => '1']], 'XCLAIM');
	same($r->xAck('stream', 'group', [$id]), 1, 'XACK');
	same($r->xRange('stream', '-', '+'), [$id => ['a' => '1']], 'XRANGE');
	same($r->xLen('stream'), 1, 'XLEN');
}

// The invalidations go to another client, that is subscribed.
function caching(Redis $r): void
{
	$pipe = stream_socket_client('tcp://127.0.0.1:' . $GLOBALS['port']);
	stream_set_timeout($pipe, 30);
	fwrite($pipe, "CLIENT ID\r\n");
	$id = (int)substr(fgets($pipe), 1);
	fwrite($pipe, "SUBSCRIBE __redis__:invalidate\r\n");
	for ($i = 0; $i < 6; $i++)
		fgets($pipe);
	same($r->rawCommand('CLIENT', 'TRACKING', 'ON', 'REDIRECT', (string)$id), true, 'TRACKING');
	$r->set('cached', '1');
	same($r->get('cached'), '1', 'it is read');
	$r->set('cached', '2');
	for ($i = 0, $lines = []; $i < 8; $i++)
		$lines[] = trim(fgets($pipe));
	same($lines[7], 'cached', 'it is told of');
	$r->rawCommand('CLIENT', 'TRACKING', 'OFF');
}

same($phase, 'tour', 'the phase');
$r = open();
foreach (['types', 'together', 'listening', 'waiting', 'streams', 'caching'] as $part)
	$part($r);
