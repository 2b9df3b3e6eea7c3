/* Stands in for Criterion where that can't run: under the thread sanitizer, whose shadow memory lies where
 * Criterion wants its arena. The same sources build against it; it knows no more of Criterion than they use.
 * Each test runs in a child process, one after the other; a failed assertion ends it at once. */
#ifndef SETT_TESTS_PLAIN_CRITERION_H
#define SETT_TESTS_PLAIN_CRITERION_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The options a Test or a TestSuite may give. */
struct plain_options {
	void (*init)(void);
	void (*fini)(void);
	double timeout; /* seconds; 0 for the default */
	bool disabled;
};

struct plain_test {
	const char *suite, *name;
	void (*run)(void); /* NULL in the record of a suite */
	struct plain_options options;
	struct plain_test *next;
};

/* Called by constructors, before main. */
void plain_register(struct plain_test *);
void plain_fail(const char *file, int line, const char *condition, const char *format, ...)
	__attribute__((format(printf, 4, 5), noreturn));

#define PLAIN_RECORD(suite_, name_, run_, ...)                                            \
	static struct plain_test plain_record_##suite_##_##name_ = {                      \
		.suite = #suite_, .name = #name_, .run = run_, .options = {__VA_ARGS__}}; \
	__attribute__((constructor)) static void plain_register_##suite_##_##name_(void)  \
	{                                                                                 \
		plain_register(&plain_record_##suite_##_##name_);                         \
	}

#define Test(suite_, name_, ...)                                               \
	static void plain_run_##suite_##_##name_(void);                        \
	PLAIN_RECORD(suite_, name_, plain_run_##suite_##_##name_, __VA_ARGS__) \
	static void plain_run_##suite_##_##name_(void)

/* Ends in a declaration, to take the semicolon. */
#define TestSuite(suite_, ...)                                     \
	PLAIN_RECORD(suite_, plain_whole_suite, NULL, __VA_ARGS__) \
	struct plain_test

/* The space keeps the format from being empty, which compilers warn of. */
#define cr_assert(condition, ...) \
	((condition) ? (void)0 : plain_fail(__FILE__, __LINE__, #condition, " " __VA_ARGS__))
#define cr_assert_not(condition, ...) cr_assert(!(condition), __VA_ARGS__)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b), __VA_ARGS__)
#define cr_assert_null(p, ...) cr_assert((p) == NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...) cr_assert((p) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) cr_assert(strcmp((a), (b)) != 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) cr_assert(memcmp((a), (b), (size)) == 0, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, size, ...) cr_assert(memcmp((a), (b), (size)) != 0, __VA_ARGS__)
#define cr_assert_float_eq(a, b, epsilon, ...) cr_assert(fabs((double)((a) - (b))) <= (epsilon), __VA_ARGS__)
/* The first one that fails ends the run here. */
#define cr_expect(condition, ...) cr_assert(condition, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) cr_assert_str_eq(a, b, __VA_ARGS__)
#define cr_assert_fail(...) plain_fail(__FILE__, __LINE__, "reached", " " __VA_ARGS__)

#endif
