/* String commands through the runner: replies as Redis 7.0.15 gives them. */
#include "server_support.h"

Test(strings, set_and_its_options)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "GET k", "$-1");
	EXPECT(f, 0, "SET k v", "+OK");
	EXPECT(f, 0, "get k", "$1\r\nv");
	EXPECT(f, 0, "SET k w NX", "$-1");
	EXPECT(f, 0, "SET n w XX", "$-1");
	EXPECT(f, 0, "SET k w XX GET", "$1\r\nv");
	EXPECT(f, 0, "SET k x NX GET", "$1\r\nw");
	EXPECT(f, 0, "SET k x EX 10", "+OK");
	EXPECT(f, 0, "TTL k", ":10");
	EXPECT(f, 0, "SET k y KEEPTTL", "+OK");
	EXPECT(f, 0, "PTTL k", ":10000");
	EXPECT(f, 0, "SET k y", "+OK");
	EXPECT(f, 0, "TTL k", ":-1");
	EXPECT(f, 0, "SET k y PXAT 1700000005000", "+OK");
	EXPECT(f, 0, "PTTL k", ":5000");
	EXPECT(f, 0, "SET k y NX XX", "-ERR syntax error");
	EXPECT(f, 0, "SET k y EX", "-ERR syntax error");
	EXPECT(f, 0, "SET k y EX 10 PX 10", "-ERR syntax error");
	EXPECT(f, 0, "SET k y EX 10 KEEPTTL", "-ERR syntax error");
	EXPECT(f, 0, "SET k y EX 0", "-ERR invalid expire time in 'set' command");
	EXPECT(f, 0, "SET k y EX abc", "-ERR value is not an integer or out of range");
	EXPECT(f, 0, "SETEX k 9223372036854775807 y", "-ERR invalid expire time in 'setex' command");
	EXPECT(f, 0, "SET k", "-ERR wrong number of arguments for 'set' command");
	fixture_close(f);
}

Test(strings, getex_getdel_getset)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "GETEX k EX 5", "$-1");
	EXPECT(f, 0, "SET k v", "+OK");
	EXPECT(f, 0, "GETEX k PX 1500", "$1\r\nv");
	EXPECT(f, 0, "TTL k", ":2");
	EXPECT(f, 0, "GETEX k PERSIST", "$1\r\nv");
	EXPECT(f, 0, "TTL k", ":-1");
	EXPECT(f, 0, "GETEX k EXAT 1", "$1\r\nv");
	EXPECT(f, 0, "EXISTS k", ":0");
	EXPECT(f, 0, "GETSET k a", "$-1");
	EXPECT(f, 0, "GETSET k b", "$1\r\na");
	EXPECT(f, 0, "GETDEL k", "$1\r\nb");
	EXPECT(f, 0, "GETDEL k", "$-1");
	EXPECT(f, 0, "DBSIZE", ":0");
	fixture_close(f);
}

Test(strings, several_keys)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a 1 b 2 a 3", "+OK");
	EXPECT(f, 0, "MGET a b c", "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$-1");
	EXPECT(f, 0, "MSETNX c 1 b 2", ":0");
	EXPECT(f, 0, "EXISTS c", ":0");
	EXPECT(f, 0, "MSETNX c 1 d 2", ":1");
	EXPECT(f, 0, "MSET a", "-ERR wrong number of arguments for 'mset' command");
	EXPECT(f, 0, "MSET a 1 b", "-ERR wrong number of arguments for 'mset' command");
	EXPECT(f, 0, "DBSIZE", ":4");
	fixture_close(f);
}

Test(strings, parts)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "APPEND k Hello", ":5");
	EXPECT(f, 0, "APPEND k World", ":10");
	EXPECT(f, 0, "STRLEN k", ":10");
	EXPECT(f, 0, "GETRANGE k -5 -1", "$5\r\nWorld");
	EXPECT(f, 0, "SUBSTR k 0 0", "$1\r\nH");
	EXPECT(f, 0, "GETRANGE k 5 2", "$0\r\n");
	EXPECT(f, 0, "GETRANGE nokey 0 -1", "$0\r\n");
	EXPECT(f, 0, "SETRANGE k 5 -", ":10");
	EXPECT(f, 0, "GET k", "$10\r\nHello-orld");
	EXPECT(f, 0, "SETRANGE n 2 x", ":3");
	fixture_run_line(f, 0, "GET n");
	cr_assert_arr_eq(f->reply.data, "$3\r\n\0\0x\r\n", 9);
	EXPECT(f, 0, "SETRANGE n -1 x", "-ERR offset is out of range");
	EXPECT(f, 0, "SETRANGE n 536870911 xx",
	       "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
	EXPECT(f, 0, "SETBIT bits 7 1", ":0");
	EXPECT(f, 0, "SETBIT bits 7 0", ":1");
	EXPECT(f, 0, "GETBIT bits 100", ":0");
	EXPECT(f, 0, "SETBIT bits 4294967296 1", "-ERR bit offset is not an integer or out of range");
	EXPECT(f, 0, "SETBIT bits 1 2", "-ERR bit is not an integer or out of range");
	fixture_close(f);
}

Test(strings, numbers)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "INCR n", ":1");
	EXPECT(f, 0, "INCRBY n 41", ":42");
	EXPECT(f, 0, "DECRBY n 2", ":40");
	EXPECT(f, 0, "DECR n", ":39");
	EXPECT(f, 0, "OBJECT ENCODING n", "$3\r\nint");
	EXPECT(f, 0, "DECRBY n -9223372036854775808", "-ERR decrement would overflow");
	EXPECT(f, 0, "INCRBY n 9223372036854775807", "-ERR increment or decrement would overflow");
	EXPECT(f, 0, "SET s abc", "+OK");
	EXPECT(f, 0, "INCR s", "-ERR value is not an integer or out of range");
	EXPECT(f, 0, "SET n 3.0e3", "+OK");
	EXPECT(f, 0, "INCRBYFLOAT n 200", "$4\r\n3200");
	EXPECT(f, 0, "INCRBYFLOAT n 0.5", "$6\r\n3200.5");
	EXPECT(f, 0, "INCRBYFLOAT s 1", "-ERR value is not a valid float");
	EXPECT(f, 0, "INCRBYFLOAT n inf", "-ERR increment would produce NaN or Infinity");
	EXPECT(f, 0, "EXPIRE n 100", ":1");
	EXPECT(f, 0, "INCRBYFLOAT n -3200.5", "$1\r\n0");
	EXPECT(f, 0, "TTL n", ":100");
	fixture_close(f);
}

Test(strings, lcs)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "MSET a ohmytext b mynewtext", "+OK");
	EXPECT(f, 0, "LCS a b", "$6\r\nmytext");
	EXPECT(f, 0, "LCS a b LEN", ":6");
	EXPECT(f, 0, "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
	       "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:"
	       "6");
	EXPECT(f, 0, "LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX.");
	EXPECT(f, 0, "LCS a nokey", "$0\r\n");
	fixture_close(f);
}

Test(strings, values_of_all_sizes_survive_a_restart)
{
	static const size_t sizes[] = {0, 1, 44, 45, 255, 256, 4096, 100000, 3000000};
	struct fixture *f = fixture_open();
	uint8_t *value = malloc(3000000);
	for (size_t i = 0; i < 3000000; i++)
		value[i] = (uint8_t)(i * 31 + i / 251);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			char key = (char)('a' + i);
			struct bytes set[] = {BYTES_LITERAL("SET"), bytes_of(&key, 1),
					      bytes_of(value, sizes[i])};
			struct bytes get[] = {BYTES_LITERAL("GET"), bytes_of(&key, 1)};
			if (round == 0)
				fixture_run(f, 0, 3, set);
			fixture_run(f, 0, 2, get);
			cr_assert_gt(f->reply.size, sizes[i]);
			cr_assert(memcmp(f->reply.data + f->reply.size - 2 - sizes[i], value, sizes[i]) == 0);
		}
		EXPECT(f, 0, "DBSIZE", ":9");
		fixture_stop(f);
		fixture_start(f);
	}
	free(value);
	fixture_close(f);
}
