<?php
// Laravel's cache, as its configuration makes it (the driver `redis` over phpredis): deadlines, what is made once, tags, locks, and its
// limiters of rates and of how many work at a time.
[, $phase, $port, $journal] = $argv;
error_reporting(E_ALL & ~E_DEPRECATED);
foreach (['Container', 'Config', 'Redis', 'Cache'] as $part)
	require "/usr/share/php/Illuminate/$part/autoload.php";

use Illuminate\Cache\CacheManager;
use Illuminate\Cache\RateLimiter;
use Illuminate\Cache\Repository;
use Illuminate\Container\Container;
use Illuminate\Contracts\Redis\LimiterTimeoutException;
use Illuminate\Redis\RedisManager;

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

// What config/database.php and config/cache.php of a new application say.
function application(): Container
{
	global $port;
	$server = ['host' => '127.0.0.1', 'port' => $port, 'password' => null];
	$app = new Container();
	$app['config'] = new Illuminate\Config\Repository(['cache' => ['default' => 'redis', 'prefix' => 'laravel_cache',
		'stores' => ['redis' => ['driver' => 'redis', 'connection' => 'cache', 'lock_connection' => 'default']]]]);
	$app['redis'] = new RedisManager($app, 'phpredis', ['options' => ['prefix' => 'laravel_database_'],
		'default' => $server + ['database' => '0'], 'cache' => $server + ['database' => '1']]);
	return $app;
}

function cache(Container $app): Repository
{
	return (new CacheManager($app))->store();
}

function caching(Container $app): void
{
	$cache = cache($app);
	same([$cache->get('a'), $cache->put('a', ['list' => [1, 2.5, null]], 60), $cache->get('a')], [null, true, ['list' => [1, 2.5, null]]], 'an entry');
	$left = $app['redis']->connection('cache')->ttl('laravel_cache:a');
	same($left > 55 && $left <= 60, true, "its deadline: $left");
	$made = 0;
	$make = function () use (&$made) {
		return 'made ' . ++$made;
	};
	same([$cache->remember('b', 60, $make), $cache->rememberForever('b', $make), $made], ['made 1', 'made 1', 1], 'made once');
	same([$cache->add('b', 1, 60), $cache->add('c', 1, 60), $cache->add('c', 1, 60)], [false, true, false], 'added if it is not there');
	same([$cache->increment('c', 4), $cache->decrement('c'), $cache->pull('c'), $cache->has('c')], [5, 4, '4', false], 'counted');
	same($cache->putMany(array_combine(array_map(fn ($n) => "n$n", range(1, 50)), range(1, 50)), 60), true, 'many');
	same($cache->many(['n1', 'n50', 'absent']), ['n1' => '1', 'n50' => '50', 'absent' => null], 'many are read');
	$cache->put('short', 1, 1);
	usleep(1200000);
	same($cache->get('short'), null, 'a deadline passes');
	$cache->tags(['red'])->put('x', 1, 60);
	$cache->tags(['red', 'blue'])->forever('y', 2);
	$cache->tags(['blue'])->put('z', 3, 60);
	$cache->tags(['red'])->flush();
	same([$cache->tags(['red'])->get('x'), $cache->tags(['red', 'blue'])->get('y'), $cache->tags(['blue'])->get('z')], [null, null, '3'], 'a tag goes');
	same([$cache->forget('a'), $cache->has('a'), $cache->clear(), $cache->has('n1')], [true, false, true, false], 'forgotten, and all');
}

function locks(Container $app): void
{
	$cache = cache($app);
	$lock = $cache->lock('door', 10);
	same([$lock->get(), $cache->lock('door', 10)->get()], [true, false], 'one has the lock');
	same([$cache->restoreLock('door', 'another')->release(), $cache->restoreLock('door', $lock->owner())->release()], [false, true], 'its owner lets it go');
	same($cache->lock('door', 1)->get(), true, 'a lock with a deadline');
	same($cache->lock('door', 5)->block(5, fn () => 'mine'), 'mine', 'waited for');
}

function limits(Container $app): void
{
	$limiter = new RateLimiter(cache($app));
	$tries = array_map(fn ($n) => $limiter->attempt('mail', 3, fn () => true, 60), range(1, 5));
	same([$tries, $limiter->remaining('mail', 3)], [[true, true, true, false, false], 0], 'three a minute');
	same($limiter->availableIn('mail') > 50, true, 'when there is more');
	$limiter->clear('mail');
	same($limiter->tooManyAttempts('mail', 3), false, 'cleared');
	$redis = $app['redis']->connection();
	$taken = fn () => $redis->throttle('jobs')->allow(2)->every(60)->block(0)->then(fn () => 'ran', fn ($e) => get_class($e));
	same([$taken(), $taken(), $taken()], ['ran', 'ran', LimiterTimeoutException::class], 'a rate');
	$inner = fn () => $redis->funnel('printer')->limit(1)->releaseAfter(60)->block(0)->then(fn () => 'ran', fn () => 'full');
	same($redis->funnel('printer')->limit(1)->releaseAfter(60)->block(0)->then($inner), 'full', 'one at a time');
	same($inner(), 'ran', 'and then the next');
}

$app = application();
if ($phase === 'tour') {
	caching($app);
	locks($app);
	limits($app);
} elseif ($phase === 'load') {
	$cache = cache($app);
	for ($n = 0; ; $n++) {
		same($cache->put("n$n", ['n' => $n], 600), true, "entry $n");
		note("put $n");
		$cache->tags(['even', "mod$n"])->forever("t$n", $n);
		note("tagged $n");
		note('count ' . $cache->increment('count'));
	}
} elseif ($phase === 'settle') {
	$cache = cache($app);
	$count = 0;
	foreach (file($journal, FILE_IGNORE_NEW_LINES) as $line) {
		[$what, $n] = explode(' ', $line);
		if ($what === 'put')
			same($cache->get("n$n"), ['n' => (int)$n], "entry $n");
		elseif ($what === 'tagged')
			same($cache->tags(['even', "mod$n"])->get("t$n"), $n, "tagged $n");
		else
			$count = max($count, (int)$n);
	}
	$kept = (int)$cache->get('count');
	same($kept === $count || $kept === $count + 1, true, "counted $kept, at least $count");
	$cache->tags('even')->flush();
	same($cache->tags(['even', 'mod0'])->get('t0'), null, 'the tag still knows what has it');
}
