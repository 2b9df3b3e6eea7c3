/*
 * Values of command-line options. What is out of range is a message to stderr and exit status 2.
 */
#ifndef SETT_BENCH_ARGUMENTS_H
#define SETT_BENCH_ARGUMENTS_H

#include <stdint.h>

/* A whole number in [minimum, maximum]. */
uint64_t argument_number(const char *option, const char *text, uint64_t minimum, uint64_t maximum);
/* A number in [0, maximum] of whatever `unit` says ("seconds"). */
double argument_real(const char *option, const char *text, double maximum, const char *unit);
/* Names that are not one of a few. */
_Noreturn void argument_refuse(const char *option, const char *text);

#endif
