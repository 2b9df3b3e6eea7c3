/* The long tests of the engine: any number of seeds of the crash, fault and model runs. Used by `./dev soak`.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_run.h"
#include "fault_run.h"
#include "model_run.h"

enum { MODEL_OPERATIONS = 5000, FAULT_CALLS = 120 };

/* One fault, of a kind and at a call that the seed says; the workload is the seed's, too. */
static int
one_fault(uint64_t seed, char *why, size_t size)
{
	struct fault_plan plan = {.kind = (enum vfs_fault_kind)(seed % VFS_FAULT_KINDS),
				  .n = 1 + seed / VFS_FAULT_KINDS % FAULT_CALLS,
				  .sticky = seed / VFS_FAULT_KINDS / FAULT_CALLS % 2};
	return fault_run(seed, &plan, NULL, why, size);
}

static int
every_fault(uint64_t seed, char *why, size_t size)
{
	uint64_t runs = 0;
	return fault_sweep(seed, 1, &runs, why, size);
}

static int
one_model(uint64_t seed, char *why, size_t size)
{
	struct model_figures figures = {0};
	return model_run(seed, MODEL_OPERATIONS, &figures, why, size);
}

static const struct kind {
	const char *name;
	int (*run)(uint64_t seed, char *ret_why, size_t size);
	bool by_default;
} kinds[] = {
	{"crash", crash_run, true},
	{"fault", one_fault, true},
	{"model", one_model, true},
	{"sweep", every_fault, false},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int
usage(FILE *to)
{
	fputs("usage: soak [--seeds COUNT] [--from N] [--only KIND]\n"
	      "Runs COUNT (2000) seeds from N (1) on, each through every kind of run:\n"
	      "  crash  power cuts, in recoveries too, against an oracle\n"
	      "  fault  one failing call; kind, number and stickiness come from the seed\n"
	      "  model  random operations beside a sorted map with versions\n"
	      "and only if asked for with --only:\n"
	      "  sweep  one workload with every call failing in turn, about two minutes a seed\n"
	      "Exits with 1 after the first run that fails, naming its kind and seed.\n",
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

static int
run_seed(unsigned long long seed, const char *only, unsigned long long *runs)
{
	char why[500];
	for (int k = 0; k < KINDS; k++) {
		if (only ? strcmp(only, kinds[k].name) != 0 : !kinds[k].by_default)
			continue;
		if (kinds[k].run(seed, why, sizeof(why)) != 0) {
			printf("%s, seed %llu: %s\n", kinds[k].name, seed, why);
			return -1;
		}
		++*runs;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	unsigned long long seeds = 2000, from = 1, runs = 0;
	const char *only = NULL;
	for (int i = 1; i < argc; i += 2) {
		if (strcmp(argv[i], "--help") == 0)
			return usage(stdout);
		if (i + 1 == argc)
			return usage(stderr);
		if (strcmp(argv[i], "--only") == 0) {
			only = argv[i + 1];
			bool known = false;
			for (int k = 0; k < KINDS; k++)
				known |= strcmp(only, kinds[k].name) == 0;
			if (!known)
				return usage(stderr);
			continue;
		}
		unsigned long long *to = strcmp(argv[i], "--seeds") == 0 ? &seeds
			: strcmp(argv[i], "--from") == 0                 ? &from
									 : NULL;
		if (!to || number(argv[i + 1], to) != 0)
			return usage(stderr);
	}
	for (unsigned long long seed = from; seed < from + seeds; seed++) {
		if (run_seed(seed, only, &runs) != 0)
			return 1;
		if ((seed - from + 1) % 100 == 0) {
			printf("%llu of %llu seeds\n", seed - from + 1, seeds);
			fflush(stdout);
		}
	}
	printf("%llu passed, 0 failed\n", runs);
	return 0;
}
