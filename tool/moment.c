/* See moment.h. */
#include "moment.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* `count` digits at *p, which is moved past them. */
static bool
take_digits(const char **p, unsigned count, unsigned least, unsigned most, unsigned *ret)
{
	unsigned value = 0;
	for (unsigned i = 0; i < count; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		value = value * 10 + (unsigned)(**p - '0');
	}
	*ret = value;
	return value >= least && value <= most;
}

static bool
take_letter(const char **p, char letter)
{
	if (**p != letter)
		return false;
	(*p)++;
	return true;
}

/* "56.789", if there is something. */
static bool
take_seconds(const char **p, unsigned *ret_seconds, unsigned *ret_ms)
{
	unsigned unit = 100;
	*ret_seconds = *ret_ms = 0;
	if (!take_letter(p, ':'))
		return true;
	if (!take_digits(p, 2, 0, 60, ret_seconds))
		return false;
	if (!take_letter(p, '.'))
		return true;
	for (unsigned digit; unit > 0 && take_digits(p, 1, 0, 9, &digit); unit /= 10)
		*ret_ms += digit * unit;
	return unit < 100;
}

/* Minutes that the time is ahead of UTC. */
static bool
take_zone(const char **p, int *ret_minutes)
{
	unsigned hours, minutes;
	*ret_minutes = 0;
	if (**p == '\0' || take_letter(p, 'Z'))
		return true;
	int sign = take_letter(p, '+') ? 1 : take_letter(p, '-') ? -1 : 0;
	if (sign == 0 || !take_digits(p, 2, 0, 23, &hours) || !take_letter(p, ':') ||
	    !take_digits(p, 2, 0, 59, &minutes))
		return false;
	*ret_minutes = sign * (int)(hours * 60 + minutes);
	return true;
}

bool
moment_parse(const char *text, uint64_t *ret)
{
	enum { YEAR_LEAST = 1970, YEAR_MOST = 9999 };
	unsigned year, month, day, hour, minute, second, ms;
	int zone;
	const char *p = text;
	if (!take_digits(&p, 4, YEAR_LEAST, YEAR_MOST, &year) || !take_letter(&p, '-') ||
	    !take_digits(&p, 2, 1, 12, &month) || !take_letter(&p, '-') || !take_digits(&p, 2, 1, 31, &day) ||
	    (!take_letter(&p, 'T') && !take_letter(&p, ' ')) || !take_digits(&p, 2, 0, 23, &hour) ||
	    !take_letter(&p, ':') || !take_digits(&p, 2, 0, 59, &minute) || !take_seconds(&p, &second, &ms) ||
	    !take_zone(&p, &zone) || *p != '\0')
		return false;
	struct tm tm = {.tm_year = (int)year - 1900,
			.tm_mon = (int)month - 1,
			.tm_mday = (int)day,
			.tm_hour = (int)hour,
			.tm_min = (int)minute,
			.tm_sec = (int)second};
	int64_t seconds = timegm(&tm);
	if (tm.tm_mday != (int)day)
		return false; /* a month has not so many days */
	seconds -= (int64_t)zone * 60;
	if (seconds < 0)
		return false;
	*ret = (uint64_t)seconds * 1000 + ms;
	return true;
}
