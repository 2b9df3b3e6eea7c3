/* The long tests of the engine: any number of seeds of the crash runs. Used by `./dev soak`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_run.h"

static int
usage(FILE *to)
{
	fputs("usage: soak [--seeds COUNT] [--from N]\n"
	      "Runs COUNT (2000) crash runs, from seed N (1). Exits with 1 after the first that fails, "
	      "naming its seed.\n",
	      to);
	return to == stdout ? 0 : 2;
}

static int
number(const char *text, unsigned long long *ret)
{
	char *end;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || end == text || *end ? -1 : 0;
}

int
main(int argc, char **argv)
{
	unsigned long long seeds = 2000, from = 1;
	for (int i = 1; i < argc; i += 2) {
		if (strcmp(argv[i], "--help") == 0)
			return usage(stdout);
		unsigned long long *to = strcmp(argv[i], "--seeds") == 0 ? &seeds
			: strcmp(argv[i], "--from") == 0                 ? &from
									 : NULL;
		if (!to || i + 1 == argc || number(argv[i + 1], to) != 0)
			return usage(stderr);
	}
	char why[300];
	for (unsigned long long seed = from; seed < from + seeds; seed++) {
		if (crash_run(seed, why, sizeof(why)) != 0) {
			printf("seed %llu: %s\n", seed, why);
			return 1;
		}
		if ((seed - from + 1) % 100 == 0) {
			printf("%llu of %llu seeds\n", seed - from + 1, seeds);
			fflush(stdout);
		}
	}
	printf("%llu passed, 0 failed\n", seeds);
	return 0;
}
