<?php
// PHP's own sessions, kept by phpredis: with its locks, deadlines and lazy writes; and Symfony's cache with tags.
[, $phase, $port, $journal] = $argv;
require '/usr/share/php/Symfony/Component/Cache/autoload.php';

use Symfony\Component\Cache\Adapter\RedisAdapter;
use Symfony\Component\Cache\Adapter\RedisTagAwareAdapter;
use Symfony\Contracts\Cache\ItemInterface;

function same($actual, $wanted, string $what): void
{
	if ($actual !== $wanted) {
		echo "FAILED: $what: ", json_encode($actual), ', not ', json_encode($wanted), "\n";
		exit(1);
	}
}

function note(string $line): void
{
	global $journal;
	file_put_contents($journal, $line . "\n", FILE_APPEND);
}

foreach (['session.save_handler' => 'redis', 'session.save_path' => "tcp://127.0.0.1:$port?prefix=php:",
	'session.use_cookies' => '0', 'session.use_only_cookies' => '0', 'session.cache_limiter' => '', 'session.gc_maxlifetime' => '600',
	'redis.session.locking_enabled' => '1', 'redis.session.lock_expire' => '10'] as $name => $value)
	ini_set($name, $value);

function in_session(string $id, callable $change)
{
	session_id($id);
	same(session_start(), true, "session $id begins");
	$result = $change();
	same(session_write_close(), true, "session $id is written");
	$_SESSION = [];
	return $result;
}

function redis(): Redis
{
	global $port;
	$redis = new Redis();
	$redis->connect('127.0.0.1', (int)$port);
	return $redis;
}

function sessions(): void
{
	in_session('one', fn () => $_SESSION['basket'] = ['apples' => 3]);
	same(in_session('one', fn () => $_SESSION['basket']), ['apples' => 3], 'a session');
	$left = redis()->ttl('php:one');
	same($left > 590 && $left <= 600, true, 'its deadline');
	in_session('one', fn () => same(redis()->exists('php:one_LOCK'), 1, 'it is locked'));
	same(redis()->exists('php:one_LOCK'), 0, 'it is free');
	session_id('one');
	session_start();
	session_regenerate_id(true);
	$new = session_id();
	session_write_close();
	same([redis()->exists('php:one'), in_session($new, fn () => $_SESSION['basket'])], [0, ['apples' => 3]], 'under a new name');
	session_id($new);
	session_start();
	session_destroy();
	same(redis()->exists("php:$new"), 0, 'destroyed');
}

function symfony(): void
{
	$made = 0;
	$cache = new RedisAdapter(redis(), 'plain', 100);
	$make = function (ItemInterface $item) use (&$made) {
		$item->expiresAfter(50);
		return ['made' => ++$made];
	};
	same([$cache->get('a', $make), $cache->get('a', $make)], [['made' => 1], ['made' => 1]], 'made once');
	same($cache->deleteItems(['a', 'b']), true, 'deleted');
	same($cache->get('a', $make), ['made' => 2], 'made again');
	foreach (range(1, 50) as $n)
		$cache->saveDeferred($cache->getItem("n$n")->set($n));
	same($cache->commit(), true, 'many');
	$items = array_map(fn ($item) => $item->get(), iterator_to_array($cache->getItems(['n1', 'n50', 'absent'])));
	same($items, ['n1' => 1, 'n50' => 50, 'absent' => null], 'many are read');
	same([$cache->clear(), $cache->hasItem('n1')], [true, false], 'cleared');

	$tagged = new RedisTagAwareAdapter(redis(), 'tagged');
	foreach (['x' => ['red'], 'y' => ['red', 'blue'], 'z' => ['blue']] as $key => $tags)
		$tagged->get($key, function (ItemInterface $item) use ($tags, $key) {
			$item->tag($tags);
			return $key;
		});
	same($tagged->invalidateTags(['red']), true, 'a tag goes');
	same(array_map([$tagged, 'hasItem'], ['x', 'y', 'z']), [false, false, true], 'and what has it');
}

if ($phase === 'tour') {
	sessions();
	symfony();
} elseif ($phase === 'load') {
	for ($n = 0; ; $n++) {
		in_session("user$n", fn () => $_SESSION['n'] = $n);
		note("session $n");
		$seen = in_session('all', fn () => $_SESSION['seen'] = ($_SESSION['seen'] ?? 0) + 1);
		note("seen $seen");
	}
} elseif ($phase === 'settle') {
	$seen = 0;
	foreach (file($journal, FILE_IGNORE_NEW_LINES) as $line) {
		[$what, $n] = explode(' ', $line);
		if ($what === 'session')
			same(in_session("user$n", fn () => $_SESSION['n'] ?? null), (int)$n, "session $n");
		else
			$seen = max($seen, (int)$n);
	}
	redis()->del('php:all_LOCK'); // what was killed had it
	$kept = in_session('all', fn () => $_SESSION['seen'] ?? 0);
	same($kept === $seen || $kept === $seen + 1, true, "what was seen: $kept, at least $seen");
}
