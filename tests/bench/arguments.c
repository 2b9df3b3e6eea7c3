/*
 * Values of command-line options.
 */
#include "arguments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t
argument_number(const char *option, const char *text, uint64_t minimum, uint64_t maximum)
{
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < minimum || value > maximum) {
		(void)fprintf(stderr, "%s: --%s: a number from %llu to %llu, not \"%s\"\n",
			      program_invocation_short_name, option, (unsigned long long)minimum,
			      (unsigned long long)maximum, text);
		exit(2);
	}
	return value;
}

double
argument_real(const char *option, const char *text, double maximum, const char *unit)
{
	char *end;
	double value = strtod(text, &end);
	if (end == text || *end != '\0' || !(value >= 0 && value <= maximum)) {
		(void)fprintf(stderr, "%s: --%s: %s, not \"%s\"\n", program_invocation_short_name, option,
			      unit, text);
		exit(2);
	}
	return value;
}

void
argument_refuse(const char *option, const char *text)
{
	(void)fprintf(stderr, "%s: --%s: \"%s\" is not known\n", program_invocation_short_name, option, text);
	exit(2);
}
