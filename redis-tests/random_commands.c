/*
 * Random commands, the same ones from one seed, over three connections (one of them in RESP3) to the server
 * under test and to redis-server, one at a time or several at once: every reply must be equal. After each round the server under test is killed
 * (SIGKILL) and started again, and both must hold the same keys, values and deadlines. In every other round
 * collections leave their roots as soon as they can.
 *
 *	random_commands SERVER REDIS_SERVER [ROUNDS [COMMANDS [SEED [TEXT]]]]
 *
 * With TEXT the commands are those whose template has it ("%y": streams'), and transactions.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "server_process.h"

#define TIMEOUT_MS 180000
#define CONNECTIONS 3
#define DATABASES 3
#define KEYS 12
#define FIELDS 40
#define ARGUMENTS_MAX 16
#define VALUE_MAX 6000
#define DIFFERENCES_MAX 20
#define PIPELINE_MAX 12

struct side {
	struct server_process *server;
	struct client *clients[CONNECTIONS];
};

struct run {
	struct side reference, subject;
	uint64_t random;
	size_t commands, differences;
	const char *only; /* what a template has to have, but those of transactions; NULL: nothing */
	/* For a while: likewise, and the number of all keys. */
	const char *theme;
	uint64_t key;
};

/* %k key, %n field of a hash, %e member of a set, %z key of a sorted set, %l of one whose scores are all 0, %q key of a
 * list, %c score, %s end of a range of scores, %x of names, %v value, %i integer, %f float, %o offset, %b bit, %d
 * database, %y key of a stream, %A id to add, %I any id of a stream, %t a second since 1970, %m milliseconds, %w width of a bit field, %h key of a HyperLogLog, %g key of places,
 * %G longitude, %L latitude, %r radius. '~' before a template: the reply's elements have no order; '^': it has times, and
 * figures of Redis' trees. A template that is here twice comes twice as often. */
static const char *const templates[] = {"SET %k %v",
					"SET %k %v",
					"SET %k %v",
					"SET %k %i",
					"SET %k %f",
					"SET %k %v NX",
					"SET %k %v XX GET",
					"SET %k %v EXAT %t",
					"SET %k %v KEEPTTL",
					"SET %k %v PXAT %m GET NX",
					"GET %k",
					"GET %k",
					"GET %k",
					"GETDEL %k",
					"GETSET %k %v",
					"GETEX %k EXAT %t",
					"GETEX %k PERSIST",
					"STRLEN %k",
					"APPEND %k %v",
					"APPEND %k %v",
					"APPEND %k %i",
					"GETRANGE %k %i %i",
					"GETRANGE %k %o %o",
					"SETRANGE %k %o %v",
					"SETRANGE %k %o %v",
					"SUBSTR %k %o %i",
					"SETNX %k %v",
					"MSET %k %v %k %v",
					"MSETNX %k %v %k %v",
					"MGET %k %k %k",
					"INCR %k",
					"DECR %k",
					"INCRBY %k %i",
					"DECRBY %k %i",
					"INCRBYFLOAT %k %f",
					"SETBIT %k %o %b",
					"GETBIT %k %o",
					"BITCOUNT %k",
					"BITCOUNT %k %i %i",
					"BITCOUNT %k %i %i BIT",
					"BITPOS %k %b",
					"BITPOS %k %b %i",
					"BITPOS %k %b %i %i",
					"BITPOS %k %b %i %i BIT",
					"BITOP AND %k %k %k",
					"BITOP OR %k %k %k %k",
					"BITOP XOR %k %k %k",
					"BITOP NOT %k %k",
					"BITFIELD %k GET %w %o SET %w %o %i",
					"BITFIELD %k INCRBY %w %o %i GET %w %o INCRBY %w %o %i",
					"BITFIELD %k OVERFLOW SAT INCRBY %w %o %i SET %w %o %o",
					"BITFIELD %k OVERFLOW FAIL INCRBY %w %o %i SET %w %o %i",
					"BITFIELD_RO %k GET %w %o GET %w %o",
					"EVAL return(redis.call('GET',KEYS[1])) 1 %k",
					"EVAL return{redis.pcall('INCR',KEYS[1])} 1 %k",
					"EVAL return{redis.pcall('APPEND',KEYS[1],ARGV[1])} 1 %k %v",
					"EVAL redis.call('DEL',KEYS[1]);error('x') 1 %k",
					"EVAL_RO return(redis.pcall('DEL',KEYS[1])) 1 %k",
					"PFADD %h %n",
					"PFADD %h %n %i %f %v",
					"PFADD %h %v %v %v %v %v %v",
					"PFADD %h %f %f %f %f %f %f %f %f %f %f",
					"PFADD %h %o %o %o %o %o %o %o %o %o %o",
					"PFADD %h",
					"PFCOUNT %h",
					"PFCOUNT %h %h",
					"PFMERGE %h %h %h",
					"PFDEBUG DECODE %h",
					"PFDEBUG ENCODING %h",
					"GET %h",
					"DEL %h",
					"COPY %h %h REPLACE",
					"PFADD %k %n",
					"HSET %k %n %v",
					"HSET %k %n %v",
					"HSET %k %n %v",
					"HSET %k %n %v %n %v %n %i",
					"HSET %k %n %i",
					"HMSET %k %n %v %n %v",
					"HSETNX %k %n %v",
					"HGET %k %n",
					"HGET %k %n",
					"HMGET %k %n %n %n",
					"HEXISTS %k %n",
					"HSTRLEN %k %n",
					"HLEN %k",
					"HDEL %k %n",
					"HDEL %k %n %n",
					"HINCRBY %k %n %i",
					"HINCRBYFLOAT %k %n %f",
					"~HGETALL %k",
					"~HKEYS %k",
					"~HVALS %k",
					"~HRANDFIELD %k 1000",
					"~HRANDFIELD %k 1000 WITHVALUES",
					"HRANDFIELD %k 0",
					"~HSCAN %k 0 COUNT 100000",
					"~HSCAN %k 0 COUNT 100000 MATCH f1*",
					"SADD %k %e",
					"SADD %k %e %e",
					"SADD %k %e %e %e %e %e",
					"SADD %k %i %i",
					"SADD %k %v",
					"SREM %k %e",
					"SREM %k %e %e %i",
					"SCARD %k",
					"SISMEMBER %k %e",
					"SMISMEMBER %k %e %i %e",
					"~SMEMBERS %k",
					"SMOVE %k %k %e",
					"SMOVE %k %k %i",
					"~SPOP %k 1000",
					"SPOP %k 0",
					"~SRANDMEMBER %k 1000",
					"SRANDMEMBER %k 0",
					"~SSCAN %k 0 COUNT 100000",
					"~SSCAN %k 0 COUNT 100000 MATCH *1*",
					"~SINTER %k %k",
					"~SINTER %k %k %k",
					"~SUNION %k %k",
					"~SUNION %k %k %k",
					"~SDIFF %k %k",
					"~SDIFF %k %k %k",
					"SINTERSTORE %k %k %k",
					"SUNIONSTORE %k %k %k",
					"SUNIONSTORE %k %k %k",
					"SDIFFSTORE %k %k %k",
					"SINTERCARD 2 %k %k",
					"SINTERCARD 2 %k %k LIMIT %o",
					"ZADD %z %c %e",
					"ZADD %z %c %e %c %e %c %e",
					"ZADD %z %c %e %c %e %c %e %c %e %c %e %c %e",
					"ZADD %z %c %v",
					"ZADD %k %c %e",
					"ZADD %z NX CH %c %e %c %e",
					"ZADD %z XX CH %c %e %c %e",
					"ZADD %z GT CH %c %e %c %e",
					"ZADD %z LT CH %c %e %c %e",
					"ZADD %z INCR %c %e",
					"ZADD %z NX INCR %c %e",
					"ZADD %z GT INCR %c %e",
					"ZINCRBY %z %c %e",
					"ZINCRBY %z %f %e",
					"ZREM %z %e",
					"ZREM %z %e %e %e",
					"ZCARD %z",
					"ZSCORE %z %e",
					"ZMSCORE %z %e %e %e",
					"ZRANK %z %e",
					"ZREVRANK %z %e",
					"ZCOUNT %z %s %s",
					"ZRANGE %z 0 -1",
					"ZRANGE %z %i %i WITHSCORES",
					"ZRANGE %z %i %i REV",
					"ZREVRANGE %z %i %i WITHSCORES",
					"ZRANGE %z %s %s BYSCORE WITHSCORES",
					"ZRANGE %z %s %s BYSCORE REV LIMIT %i %i",
					"ZRANGEBYSCORE %z %s %s",
					"ZRANGEBYSCORE %z %s %s WITHSCORES LIMIT %o %i",
					"ZREVRANGEBYSCORE %z %s %s LIMIT %o %i WITHSCORES",
					"ZREMRANGEBYRANK %z %i %i",
					"ZREMRANGEBYSCORE %z %s %s",
					"ZPOPMIN %z",
					"ZPOPMAX %z",
					"ZPOPMIN %z %b",
					"ZPOPMAX %z %o",
					"ZMPOP 3 %z %z %z MIN",
					"ZMPOP 2 %z %k MAX COUNT %o",
					"ZRANGESTORE %z %z %i %i",
					"ZRANGESTORE %z %z %s %s BYSCORE REV LIMIT %o %i",
					"~ZRANDMEMBER %z 1000",
					"~ZRANDMEMBER %z 1000 WITHSCORES",
					"~ZSCAN %z 0 COUNT 100000",
					"~ZSCAN %z 0 COUNT 100000 MATCH *1*",
					"ZUNION 2 %z %z WITHSCORES",
					"ZUNION 3 %z %k %z WITHSCORES AGGREGATE MIN",
					"ZINTER 2 %z %z WITHSCORES",
					"ZINTER 2 %z %k WEIGHTS %c %c",
					"ZDIFF 3 %z %z %k WITHSCORES",
					"ZINTERCARD 2 %z %z LIMIT %o",
					"ZUNIONSTORE %z 2 %z %z",
					"ZUNIONSTORE %z 3 %z %z %k WEIGHTS %c %c %c AGGREGATE MAX",
					"ZINTERSTORE %z 2 %z %z AGGREGATE MIN",
					"ZDIFFSTORE %z 2 %z %z",
					"GEOADD %g %G %L %e",
					"GEOADD %g %G %L %e %G %L %e %G %L %e %G %L %e",
					"GEOADD %g XX CH %G %L %e",
					"GEOADD %g NX %G %L %e %G %L %e",
					"GEOADD %k %G %L %e",
					"GEOPOS %g %e %e %e",
					"GEOHASH %g %e %e",
					"GEODIST %g %e %e km",
					"GEOSEARCH %g FROMLONLAT %G %L BYRADIUS %r km",
					"GEOSEARCH %g FROMMEMBER %e BYRADIUS %r mi ASC WITHDIST WITHCOORD",
					"GEOSEARCH %g FROMLONLAT %G %L BYBOX %r %r km WITHHASH",
					"GEOSEARCH %g FROMMEMBER %e BYBOX %r %r km DESC COUNT %o",
					"GEOSEARCH %g FROMLONLAT %G %L BYRADIUS %r km COUNT %o ANY",
					"GEOSEARCHSTORE %g %g FROMLONLAT %G %L BYRADIUS %r km",
					"GEOSEARCHSTORE %z %g FROMMEMBER %e BYBOX %r %r km STOREDIST",
					"GEORADIUS %g %G %L %r km",
					"GEORADIUS %g %G %L %r km STORE %g",
					"GEORADIUS_RO %g %G %L %r km WITHDIST",
					"GEORADIUSBYMEMBER %g %e %r km STOREDIST %z",
					"GEORADIUSBYMEMBER_RO %g %e %r km",
					"ZRANGE %g 0 -1 WITHSCORES",
					"ZREM %g %e",
					"ZADD %l 0 %e 0 %e 0 %e",
					"ZADD %l 0 %v",
					"ZRANGEBYLEX %l %x %x",
					"ZREVRANGEBYLEX %l %x %x LIMIT %o %i",
					"ZRANGE %l %x %x BYLEX LIMIT %b %o",
					"ZLEXCOUNT %l %x %x",
					"ZREMRANGEBYLEX %l %x %x",
					"ZRANGESTORE %l %l %x %x BYLEX",
					"ZREM %l %e %e",
					"OBJECT ENCODING %z",
					"COPY %z %z REPLACE",
					"RENAME %z %z",
					"DEL %z",
					"EXPIREAT %z %t",
					"LPUSH %q %v",
					"RPUSH %k %v",
					"LPOP %k",
					"LLEN %k",
					"LPUSH %q %e %e %e %v %e %i",
					"RPUSH %q %v",
					"RPUSH %q %e %v %e %e %i %e %e",
					"LPUSHX %q %e %v",
					"RPUSHX %q %e %v %e",
					"LPOP %q",
					"RPOP %q",
					"LPOP %q %b",
					"RPOP %q 3",
					"LLEN %q",
					"LRANGE %q 0 -1",
					"LRANGE %q %i %i",
					"LINDEX %q %i",
					"LINDEX %q 0",
					"LSET %q %i %v",
					"LSET %q %b %e",
					"LINSERT %q BEFORE %e %v",
					"LINSERT %q AFTER %e %e",
					"LINSERT %q AFTER %e %v",
					"LREM %q 1 %e",
					"LREM %q -2 %e",
					"LREM %q %i %e",
					"LTRIM %q %b -2",
					"LTRIM %q %i %i",
					"LPOS %q %e",
					"LPOS %q %e RANK %i COUNT 3",
					"LPOS %q %e COUNT 0 MAXLEN %o",
					"LMOVE %q %q LEFT RIGHT",
					"LMOVE %q %q RIGHT LEFT",
					"LMOVE %q %q LEFT LEFT",
					"RPOPLPUSH %q %k",
					"LMPOP 2 %q %q LEFT",
					"BLPOP %q %q %k 0.01",
					"BRPOP %q 0.01",
					"BLMOVE %q %q LEFT RIGHT 0.01",
					"BRPOPLPUSH %q %k 0.01",
					"BLMPOP 0.01 2 %q %q RIGHT COUNT 2",
					"BZPOPMIN %z %z 0.01",
					"BZPOPMAX %z %k 0.01",
					"BZMPOP 0.01 2 %z %z MIN COUNT 2",
					"LMPOP 3 %q %q %q RIGHT COUNT 4",
					"SORT %q",
					"SORT_RO %q DESC",
					"SORT %q BY nosort GET # GET *",
					"SORT %q ALPHA STORE %k",
					"SORT %q ALPHA DESC LIMIT %b %o",
					"SORT %q BY nosort LIMIT %o %i",
					"SORT %q BY nosort DESC LIMIT %b %o",
					"~SORT %q BY *->f1 ALPHA GET #",
					"SORT %q ALPHA LIMIT 2 5 STORE %q",
					"OBJECT ENCODING %k",
					"DEL %k",
					"UNLINK %k %k",
					"EXISTS %k %k",
					"TYPE %k",
					"RENAME %k %k",
					"RENAMENX %k %k",
					"COPY %k %k",
					"COPY %k %k REPLACE",
					"COPY %k %k DB %d REPLACE",
					"MOVE %k %d",
					"TOUCH %k %k",
					"DBSIZE",
					"EXPIREAT %k %t",
					"EXPIREAT %k %t NX",
					"EXPIREAT %k %t XX",
					"PEXPIREAT %k %m GT",
					"PEXPIREAT %k %m LT",
					"EXPIREAT %k 1",
					"EXPIRETIME %k",
					"PEXPIRETIME %k",
					"PERSIST %k",
					"SELECT %d",
					"SWAPDB %d %d",
					"FLUSHDB",
					"MULTI",
					"MULTI",
					"EXEC",
					"XADD %y %A %n %v",
					"XADD %y %A %n %v",
					"XADD %y %A %n %e %n %v %n %i",
					"XADD %y %A %n %e",
					"XADD %k %A %n %v",
					"XADD %y NOMKSTREAM MAXLEN 40 %A %n %v",
					"XADD %y MINID = %I %A %n %v",
					"XADD %y 0-* %n %v",
					"XLEN %y",
					"XLEN %k",
					"XRANGE %y - +",
					"XRANGE %y %I %I",
					"XRANGE %y (%I + COUNT 3",
					"XREVRANGE %y + -",
					"XREVRANGE %y %I %I COUNT 4",
					"XREVRANGE %y + - COUNT 1",
					"XDEL %y %I %I",
					"XDEL %y %I %I %I %I %I %I",
					"XTRIM %y MAXLEN 30",
					"XTRIM %y MINID %I",
					"XTRIM %y MAXLEN %i",
					"XREAD COUNT 3 STREAMS %y %y %I %I",
					"XREAD BLOCK 5 STREAMS %y $",
					"XSETID %y %A",
					"XGROUP CREATE %y g%b %I MKSTREAM",
					"XGROUP CREATE %y g0 0",
					"XGROUP SETID %y g%b %I",
					"XGROUP DESTROY %y g1",
					"XGROUP DELCONSUMER %y g%b %n",
					"XREADGROUP GROUP g%b %n COUNT 3 STREAMS %y >",
					"XREADGROUP GROUP g%b f1 COUNT 2 STREAMS %y %y > >",
					"XREADGROUP GROUP g0 f2 STREAMS %y >",
					"XREADGROUP GROUP g%b f1 STREAMS %y %I",
					"XREADGROUP GROUP g0 f2 STREAMS %y 0",
					"XREADGROUP GROUP g0 f3 NOACK COUNT 1 STREAMS %y >",
					"XACK %y g%b %I %I %I %I %I",
					"XPENDING %y g%b",
					"XPENDING %y g0",
					"XCLAIM %y g%b %n 0 %I %I %I FORCE JUSTID",
					"XCLAIM %y g0 %n 0 %I %I %I %I",
					"XAUTOCLAIM %y g%b %n 0 %I COUNT 3",
					"XAUTOCLAIM %y g0 f1 0 0 COUNT 100",
					"XINFO GROUPS %y",
					"^XINFO STREAM %y",
					"^XINFO STREAM %y FULL",
					"^XINFO STREAM %y FULL COUNT 3",
					"^XINFO CONSUMERS %y g%b",
					"^XPENDING %y g%b %I %I 5",
					"^XPENDING %y g%b - + 100",
					"^XPENDING %y g0 (%I + 4 %n",
					"^XPENDING %y g%b IDLE 0 - + 9 f1",
					"XPENDING %y g%b IDLE 1000000 - + 9",
					"XGROUP CREATECONSUMER %y g%b %n",
					"XGROUP CREATE %y g%b %I ENTRIESREAD %i",
					"XGROUP CREATE %y g%b $ MKSTREAM ENTRIESREAD %o",
					"XGROUP SETID %y g%b $",
					"XGROUP SETID %y g%b %I ENTRIESREAD %o",
					"XSETID %y %A ENTRIESADDED %i MAXDELETEDID %I",
					"XCLAIM %y g%b %n 0 %I %I RETRYCOUNT %o LASTID %I",
					"XCLAIM %y g%b %n 0 %I %I %I IDLE 1000 FORCE",
					"XCLAIM %y g%b %n 1000000 %I %I",
					"XAUTOCLAIM %y g%b %n 0 (%I COUNT 4 JUSTID",
					"XADD %y %A-* %n %v",
					"XDEL %y %I",
					"OBJECT ENCODING %y",
					"COPY %y %y REPLACE",
					"RENAME %y %y",
					"EXEC",
					"EXEC",
					"DISCARD",
					"WATCH %k",
					"WATCH %k %k",
					"UNWATCH",
					"LCS %k %k LEN",
					"INCR %k %k",
					"SET %k",
					"NOSUCH %k",
					"GETRANGE %k a b",
					"SETBIT %k %o %i"};

static uint64_t
below(struct run *run, uint64_t bound)
{
	uint64_t x = run->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	run->random = x;
	return (x * 2685821657736338717u >> 11) % bound;
}

/* One of so many keys. */
static int
key_number(struct run *run, uint64_t count)
{
	return (int)(run->theme != NULL ? run->key % count : below(run, count));
}

static size_t
make_value(struct run *run, char *text)
{
	/* Mostly short; now and then long enough to be stored apart from its key. */
	size_t size = (size_t)(below(run, 8) > 0 ? below(run, 24) : below(run, 3000));

	for (size_t i = 0; i < size; i++)
		text[i] = (char)(below(run, 10) > 0 ? 'a' + below(run, 4) : below(run, 256));
	return size;
}

static size_t
make_score(struct run *run, char *text)
{
	static const char *const odd[] = {"inf", "-inf", "1e300", "-1e-300", "0", "9007199254740993"};
	if (below(run, 20) == 0)
		return (size_t)snprintf(text, VALUE_MAX, "%s", odd[below(run, 6)]);
	return (size_t)snprintf(text, VALUE_MAX, "%.*f", (int)below(run, 2) * 2,
				(double)below(run, 161) / 4 - 20);
}

static size_t
make_score_bound(struct run *run, char *text)
{
	size_t exclusive = (size_t)below(run, 2);
	text[0] = '(';
	return exclusive + make_score(run, text + exclusive);
}

/* One argument for the letter behind a '%'; text has VALUE_MAX bytes. Returns its size. */
static size_t
make_argument(struct run *run, char letter, char *text)
{
	static const char *const odd[] = {"0",   "-1", "9223372036854775807", "-9223372036854775808",
					  "1.5", "007"};

	switch (letter) {
	case 'k':
		return (size_t)snprintf(text, VALUE_MAX, "key:%d", key_number(run, KEYS));
	case 'g':
		return (size_t)snprintf(text, VALUE_MAX, "geo:%d", key_number(run, 4));
	case 'G':
		return (size_t)snprintf(text, VALUE_MAX, "%.6f",
					((double)below(run, 3600001) - 1800000) / 10000);
	case 'L':
		return (size_t)snprintf(text, VALUE_MAX, "%.6f",
					((double)below(run, 1700001) - 850000) / 10000);
	case 'r':
		return (size_t)snprintf(text, VALUE_MAX, "%d",
					(int)below(run, below(run, 2) > 0 ? 20000 : 800));
	case 'h':
		return (size_t)snprintf(text, VALUE_MAX, "hll:%d", (int)below(run, 6));
	case 'n':
		return (size_t)snprintf(text, VALUE_MAX, "f%d", (int)below(run, FIELDS));
	case 'e':
		return (size_t)snprintf(text, VALUE_MAX, below(run, 3) > 0 ? "%d" : "m%d",
					(int)below(run, FIELDS));
	case 'z':
		return (size_t)snprintf(text, VALUE_MAX, "zset:%d", key_number(run, 6));
	case 'l':
		return (size_t)snprintf(text, VALUE_MAX, "names:%d", key_number(run, 3));
	case 'q':
		return (size_t)snprintf(text, VALUE_MAX, "list:%d", key_number(run, 4));
	case 'y':
		return (size_t)snprintf(text, VALUE_MAX, "stream:%d", key_number(run, 3));
	case 'A':
		return (size_t)snprintf(text, VALUE_MAX, "%zu-%d", run->commands / 16 + 1,
					(int)below(run, 8));
	case 'I':
		return (size_t)snprintf(text, VALUE_MAX, "%zu-%d", (size_t)below(run, run->commands / 16 + 4),
					(int)below(run, 8));
	case 'c':
		return make_score(run, text);
	case 's':
		return make_score_bound(run, text);
	case 'x':
		if (below(run, 6) == 0)
			return (size_t)snprintf(text, VALUE_MAX, "%c", below(run, 2) > 0 ? '-' : '+');
		return (size_t)snprintf(text, VALUE_MAX, "%c%.*s%d", below(run, 2) > 0 ? '[' : '(',
					(int)below(run, 2), "m", (int)below(run, FIELDS));
	case 'v':
		return make_value(run, text);
	case 'i':
		if (below(run, 12) == 0)
			return (size_t)snprintf(text, VALUE_MAX, "%s", odd[below(run, 6)]);
		return (size_t)snprintf(text, VALUE_MAX, "%d", (int)below(run, 200) - 100);
	case 'f':
		return (size_t)snprintf(text, VALUE_MAX, "%.*f", (int)below(run, 5),
					((double)below(run, 20001) - 10000) / 16);
	case 'o':
		return (size_t)snprintf(text, VALUE_MAX, "%d",
					(int)(below(run, 8) > 0 ? below(run, 60) : below(run, 5000)));
	case 'w':
		return (size_t)snprintf(text, VALUE_MAX, "%c%d", below(run, 2) > 0 ? 'u' : 'i',
					(int)below(run, 65));
	case 'b':
	case 'd':
		return (size_t)snprintf(text, VALUE_MAX, "%d",
					(int)below(run, letter == 'b' ? 2 : DATABASES));
	case 't':
		return (size_t)snprintf(text, VALUE_MAX, "%d", 2000000000 + (int)below(run, 1000));
	default:
		return (size_t)snprintf(text, VALUE_MAX, "%llu", 2000000000000ull + below(run, 1000000));
	}
}

/* A word of a template, which has one letter at most. Returns its size. */
static size_t
make_word(struct run *run, const char *word, size_t size, char *text)
{
	size_t before = 0, made;
	while (before < size && word[before] != '%')
		before++;
	memcpy(text, word, before);
	if (before == size)
		return size;
	made = before + make_argument(run, word[before + 1], text + before);
	memcpy(text + made, word + before + 2, size - before - 2);
	return made + size - before - 2;
}

/* Splits the template at blanks and fills in. Returns the number of arguments. */
static size_t
make_command(struct run *run, const char *template, char texts[ARGUMENTS_MAX][VALUE_MAX], const char **argv,
	     size_t *sizes)
{
	size_t argc = 0;

	while (*template != '\0' && argc < ARGUMENTS_MAX) {
		size_t size = strcspn(template, " ");
		argv[argc] = texts[argc];
		sizes[argc] = make_word(run, template, size, texts[argc]);
		argc++;
		template += size + (template[size] == ' ');
	}
	return argc;
}

static void
differ(struct run *run, const struct reply *a, const struct reply *b, size_t argc, const char *const *argv,
       const size_t *sizes)
{
	char *text_a, *text_b, *text_command;
	struct reply *command = reply_new('*');

	if (++run->differences > DIFFERENCES_MAX) {
		reply_free(command);
		return;
	}
	for (size_t i = 0; i < argc; i++) {
		struct reply *argument = reply_new('$');
		reply_append_text(argument, argv[i], sizes != NULL ? sizes[i] : strlen(argv[i]));
		reply_append_child(command, argument);
	}
	text_a = a != NULL ? reply_render(a) : strdup("(no reply)");
	text_b = b != NULL ? reply_render(b) : strdup("(no reply)");
	text_command = reply_render(command);
	printf("command %zu: %s\n  reference: %s\n  subject:   %s\n", run->commands, text_command, text_a,
	       text_b);
	free(text_a);
	free(text_b);
	free(text_command);
	reply_free(command);
}

enum order {
	ORDERED,
	TIMED,           /* it has times, and figures of Redis' trees, which are left out */
	UNORDERED,       /* elements, on every level */
	INNER_UNORDERED, /* elements of elements: EXEC of commands whose replies have no order, or have times */
};

/* Sett's scores have no negative zero; redis-server's have, if the set is a skiplist to it. */
static void
drop_signs_of_zero(struct reply *reply)
{
	if (reply->size == 2 && memcmp(reply->text, "-0", 2) == 0) {
		reply->text[0] = '0';
		reply->size = 1;
	}
	for (size_t i = 0; i < reply->count; i++)
		drop_signs_of_zero(reply->children[i]);
}

/* When an entry was delivered, or how long ago: [id, consumer, time, count], or [id, time, count]. */
static void
hide_deliveries(struct reply *reply)
{
	size_t count = reply->count;
	for (size_t i = 0; i < count; i++)
		hide_deliveries(reply->children[i]);
	if ((count == 3 || count == 4) && reply->children[0]->type == '$' &&
	    strchr(reply->children[0]->text, '-') != NULL && reply->children[count - 1]->type == ':' &&
	    reply->children[count - 2]->type == ':')
		reply->children[count - 2]->integer = 0;
}

static void
hide_times(struct reply *reply)
{
	static const char *const names[] = {"radix-tree-keys", "radix-tree-nodes", "idle", "seen-time"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		reply_remove(reply, names[i]);
	hide_deliveries(reply);
}

static void
sort_reply(struct reply *reply, enum order order)
{
	if (order == TIMED || order == INNER_UNORDERED)
		hide_times(reply);
	if (order == UNORDERED)
		reply_sort(reply, 1);
	for (size_t i = 0; order == INNER_UNORDERED && i < reply->count; i++)
		reply_sort(reply->children[i], 1);
}

/* Reads the replies of a command that both sides were asked for; returns the reference's. */
static struct reply *
compare_replies(struct run *run, size_t connection, size_t argc, const char *const *argv, const size_t *sizes,
		enum order order)
{
	struct reply *a = client_read(run->reference.clients[connection]);
	struct reply *b = client_read(run->subject.clients[connection]);
	char *text_a = NULL, *text_b = NULL;

	run->commands++;
	if (a != NULL && b != NULL) {
		drop_signs_of_zero(a);
		drop_signs_of_zero(b);
		sort_reply(a, order);
		sort_reply(b, order);
		text_a = reply_render(a);
		text_b = reply_render(b);
	}
	if (text_a == NULL || strcmp(text_a, text_b) != 0)
		differ(run, a, b, argc, argv, sizes);
	if (a == NULL || b == NULL) {
		printf("%s; %s\n", client_error(run->reference.clients[connection]),
		       client_error(run->subject.clients[connection]));
		run->differences += DIFFERENCES_MAX;
	}
	free(text_a);
	free(text_b);
	reply_free(b);
	return a;
}

static void
ask_both(struct run *run, size_t connection, size_t argc, const char *const *argv, const size_t *sizes)
{
	client_append(run->reference.clients[connection], argc, argv, sizes);
	client_append(run->subject.clients[connection], argc, argv, sizes);
}

/* Runs one command on both sides; returns the reference's reply. */
static struct reply *
both(struct run *run, size_t connection, size_t argc, const char *const *argv, const size_t *sizes,
     enum order order)
{
	ask_both(run, connection, argc, argv, sizes);
	return compare_replies(run, connection, argc, argv, sizes, order);
}

static void
ask(struct client *client, size_t argc, const char *const *argv)
{
	struct reply *reply = client_call(client, argc, argv, NULL);
	if (reply == NULL || reply->type == '-') {
		printf("%s: %s\n", argv[0], reply != NULL ? reply->text : client_error(client));
		exit(1);
	}
	reply_free(reply);
}

static void
connect_side(struct side *side)
{
	static const char *const hello[] = {"HELLO", "3"};
	for (size_t i = 0; i < CONNECTIONS; i++) {
		client_close(side->clients[i]);
		side->clients[i] = client_connect(server_process_port(side->server), TIMEOUT_MS);
		if (side->clients[i] == NULL) {
			perror("connect");
			exit(1);
		}
	}
	ask(side->clients[CONNECTIONS - 1], 2, hello);
}

static void
compare_data(struct run *run)
{
	for (int db = 0; db < DATABASES && run->differences < DIFFERENCES_MAX; db++) {
		char number[12];
		const char *select[] = {"SELECT", number}, *keys[] = {"KEYS", "*"}, *size[] = {"DBSIZE"};

		snprintf(number, sizeof(number), "%d", db);
		reply_free(both(run, 0, 2, select, NULL, ORDERED));
		reply_free(both(run, 0, 1, size, NULL, ORDERED));
		struct reply *names = both(run, 0, 2, keys, NULL, UNORDERED);
		for (size_t i = 0; names != NULL && i < names->count; i++) {
			const char *get[] = {"GET", names->children[i]->text};
			const char *fields[] = {"HGETALL", names->children[i]->text};
			const char *members[] = {"SMEMBERS", names->children[i]->text};
			const char *ranked[] = {"ZRANGE", names->children[i]->text, "0", "-1", "WITHSCORES"};
			const char *elements[] = {"LRANGE", names->children[i]->text, "0", "-1"};
			const char *entries[] = {"XRANGE", names->children[i]->text, "-", "+"};
			const char *groups[] = {"XINFO", "STREAM", names->children[i]->text,
						"FULL",  "COUNT",  "0"};
			const char *deadline[] = {"PEXPIRETIME", names->children[i]->text};
			reply_free(both(run, 0, 2, get, NULL, ORDERED));
			reply_free(both(run, CONNECTIONS - 1, 2, select, NULL, ORDERED));
			reply_free(both(run, CONNECTIONS - 1, 2, fields, NULL, UNORDERED));
			reply_free(both(run, CONNECTIONS - 1, 2, members, NULL, UNORDERED));
			reply_free(both(run, 0, 5, ranked, NULL, ORDERED));
			reply_free(both(run, 0, 4, elements, NULL, ORDERED));
			reply_free(both(run, 0, 4, entries, NULL, ORDERED));
			reply_free(both(run, CONNECTIONS - 1, 6, groups, NULL, TIMED));
			reply_free(both(run, 0, 2, deadline, NULL, ORDERED));
		}
		reply_free(names);
	}
}

static const char *
draw_template(struct run *run)
{
	for (;;) {
		const char *template = templates[below(run, sizeof(templates) / sizeof(templates[0]))];
		if (run->theme != NULL && strstr(template, run->theme) == NULL)
			continue;
		if (run->only == NULL || strstr(template, run->only) != NULL ||
		    strcmp(template, "MULTI") == 0 || strcmp(template, "EXEC") == 0)
			return template;
	}
}

struct random_command {
	char texts[ARGUMENTS_MAX][VALUE_MAX];
	const char *argv[ARGUMENTS_MAX];
	size_t sizes[ARGUMENTS_MAX], argc;
	enum order order;
};

static void
draw_command(struct run *run, struct random_command *ret)
{
	const char *template = draw_template(run);
	ret->order = template[0] == '~'         ? UNORDERED
		: template[0] == '^'            ? TIMED
		: strcmp(template, "EXEC") == 0 ? INNER_UNORDERED
						: ORDERED;
	template += ret->order == UNORDERED || ret->order == TIMED;
	ret->argc = make_command(run, template, ret->texts, ret->argv, ret->sizes);
}

/* Commands on one key, so that they go by what the ones before them have left in memory. */
static void
choose_theme(struct run *run)
{
	static const char *const themes[] = {"%z", "%l", "%n", "%e", "%q", "%k"};
	run->theme = run->only != NULL ? run->only : themes[below(run, sizeof(themes) / sizeof(themes[0]))];
	run->key = below(run, KEYS);
}

/* Some commands of one connection, sent at once: those of a pipeline share transactions. */
static size_t
run_some(struct run *run)
{
	static struct random_command commands[PIPELINE_MAX];
	size_t count = below(run, 3) > 0 ? 1 : (size_t)below(run, PIPELINE_MAX) + 1;
	/* The first connection does most, so that transactions get somewhere. */
	size_t connection = (size_t)(below(run, 4) > 0 ? 0 : below(run, CONNECTIONS));
	if (count > 1 && below(run, 2) > 0)
		choose_theme(run);
	for (size_t i = 0; i < count; i++) {
		struct random_command *c = &commands[i];
		draw_command(run, c);
		ask_both(run, connection, c->argc, c->argv, c->sizes);
	}
	run->theme = NULL;
	for (size_t i = 0; i < count && run->differences < DIFFERENCES_MAX; i++) {
		struct random_command *c = &commands[i];
		reply_free(compare_replies(run, connection, c->argc, c->argv, c->sizes, c->order));
	}
	return count;
}

static void
run_round(struct run *run, size_t commands, bool spread)
{
	const char *config[] = {"CONFIG", "SET", "packed-max-size", spread ? "64" : "1000"};
	ask(run->subject.clients[0], 4, config);
	for (size_t i = 0; i < commands && run->differences < DIFFERENCES_MAX;)
		i += run_some(run);
	if (run->differences >= DIFFERENCES_MAX)
		return;
	server_process_stop(run->subject.server, SIGKILL, TIMEOUT_MS);
	if (!server_process_restart(run->subject.server)) {
		printf("no restart after SIGKILL\n");
		server_process_free(run->subject.server, true);
		exit(1);
	}
	connect_side(&run->subject);
	connect_side(&run->reference);
	compare_data(run);
}

int
main(int argc, char **argv)
{
	size_t rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 5;
	size_t commands = argc > 4 ? strtoull(argv[4], NULL, 10) : 4000;
	uint64_t seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
	struct run run = {.random = seed * 0x9e3779b97f4a7c15u | 1, .only = argc > 6 ? argv[6] : NULL};

	if (argc < 3) {
		fprintf(stderr, "usage: %s SERVER REDIS_SERVER [ROUNDS [COMMANDS [SEED [TEXT]]]]\n", argv[0]);
		return 2;
	}
	run.subject.server = server_process_start(argv[1], NULL, NULL);
	run.reference.server = server_process_start(argv[2], NULL, NULL);
	if (run.subject.server != NULL && run.reference.server != NULL) {
		connect_side(&run.subject);
		connect_side(&run.reference);
		for (size_t i = 0; i < rounds && run.differences < DIFFERENCES_MAX; i++)
			run_round(&run, commands, i % 2 == 1);
	} else {
		run.differences++;
	}
	printf("seed %llu: %zu commands, %zu differences\n", (unsigned long long)seed, run.commands,
	       run.differences);
	for (size_t i = 0; i < CONNECTIONS; i++) {
		client_close(run.subject.clients[i]);
		client_close(run.reference.clients[i]);
	}
	server_process_free(run.subject.server, run.differences > 0);
	server_process_free(run.reference.server, false);
	return run.differences == 0 ? 0 : 1;
}
