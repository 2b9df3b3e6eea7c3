/*
 * Runs a libFuzzer target without libFuzzer, so that any compiler can replay a corpus and mutate it a little:
 *
 *	NAME_fuzz [--mutate N] [--seed S] FILE|DIRECTORY ...
 *
 * Every file is given to the target as it is, then N mutations of it, the same ones for the same seed. A
 * finding is a crash of the target; the input that led to it is written to crash-input first, when mutated, so
 * it can be kept as a new seed. `./dev fuzz` leaves this file out and links the target with libFuzzer.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX (1 << 20)
#define FILES_MAX 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct driver {
	uint64_t random;
	size_t mutations;
	size_t files;
	size_t runs;
};

/* What the target was given when it crashed: for the signal handler. */
static const uint8_t *volatile current_data;
static volatile size_t current_size;

static void
on_crash(int signal_number)
{
	static const char message[] = "the target crashed; its input is in crash-input\n";
	FILE *file = fopen("crash-input", "wb");

	/* Not safe in a handler, strictly; but there is nothing left to lose. */
	if (file != NULL) {
		fwrite(current_data, 1, current_size, file);
		fclose(file);
	}
	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016. */
static uint64_t
next_random(struct driver *driver)
{
	uint64_t x = driver->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	driver->random = x;
	return x * 2685821657736338717u;
}

static size_t
below(struct driver *driver, size_t bound)
{
	return (size_t)(next_random(driver) % bound);
}

/* From a heap copy of exactly the size, so that a sanitizer sees a step outside. */
static void
run_target(struct driver *driver, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	memcpy(copy, data, size);
	current_data = copy;
	current_size = size;
	LLVMFuzzerTestOneInput(copy, size);
	driver->runs++;
	free(copy);
}

/* One to four changes: flip, overwrite, insert, delete, repeat a part. Returns the new size. */
static size_t
mutate(struct driver *driver, uint8_t *data, size_t size, size_t capacity)
{
	static const char interesting[] = "\0\xff\r\n*$+-:_,#!=(%~|>;.?019\"'\\ x";

	for (size_t changes = 1 + below(driver, 4); changes > 0; changes--) {
		size_t at = size > 0 ? below(driver, size) : 0;
		size_t part = size > 0 ? 1 + below(driver, size - at < 16 ? size - at : 16) : 0;
		switch (below(driver, 5)) {
		case 0:
			if (size > 0)
				data[at] ^= (uint8_t)(1u << below(driver, 8));
			break;
		case 1:
			if (size > 0)
				data[at] = (uint8_t)interesting[below(driver, sizeof(interesting))];
			break;
		case 2:
			if (size < capacity) {
				memmove(data + at + 1, data + at, size - at);
				data[at] = (uint8_t)interesting[below(driver, sizeof(interesting))];
				size++;
			}
			break;
		case 3:
			memmove(data + at, data + at + part, size - at - part);
			size -= part;
			break;
		default:
			if (size + part <= capacity) {
				memmove(data + at + part, data + at, size - at);
				size += part;
			}
			break;
		}
	}
	return size;
}

static int
run_file(struct driver *driver, const char *path)
{
	uint8_t *seed = malloc(INPUT_MAX);
	uint8_t *mutated = malloc(INPUT_MAX);
	FILE *file = fopen(path, "rb");
	int result = -1;

	if (seed == NULL || mutated == NULL || file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		goto out;
	}
	size_t size = fread(seed, 1, INPUT_MAX, file);
	if (ferror(file)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		goto out;
	}
	driver->files++;
	run_target(driver, seed, size);
	for (size_t i = 0; i < driver->mutations; i++) {
		memcpy(mutated, seed, size);
		run_target(driver, mutated, mutate(driver, mutated, size, INPUT_MAX));
	}
	result = 0;
out:
	if (file != NULL)
		fclose(file);
	free(mutated);
	free(seed);
	return result;
}

static int
run_path(struct driver *driver, const char *path)
{
	struct stat info;
	struct dirent **entries;
	int result = 0;

	if (stat(path, &info) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	if (!S_ISDIR(info.st_mode))
		return run_file(driver, path);
	/* Sorted, so that a seed means the same mutations everywhere. */
	int count = scandir(path, &entries, NULL, alphasort);
	if (count < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < count; i++) {
		char name[4096];
		if (entries[i]->d_name[0] != '.' && driver->files < FILES_MAX && result == 0) {
			snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
			result = run_file(driver, name);
		}
		free(entries[i]);
	}
	free(entries);
	return result;
}

int
main(int argc, char **argv)
{
	struct driver driver = {.random = 20240917};

	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	signal(SIGFPE, on_crash);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--mutate") == 0 && i + 1 < argc) {
			driver.mutations = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			driver.random = strtoull(argv[++i], NULL, 10) * 2 + 1;
		} else if (run_path(&driver, argv[i]) < 0) {
			return 1;
		}
	}
	if (driver.files == 0) {
		fprintf(stderr, "usage: %s [--mutate N] [--seed S] FILE|DIRECTORY ...\n", argv[0]);
		return 2;
	}
	printf("%zu files, %zu runs\n", driver.files, driver.runs);
	return 0;
}
