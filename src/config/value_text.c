/* Directives of more than one word: each parser checks its words and writes the canonical text, the one that
 * CONFIG GET shows. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <unistd.h>

#include "config/directive.h"
#include "config/words.h"

static int
refuse(char *reason, const char *text)
{
	snprintf(reason, DIRECTIVE_REASON_SIZE, "%s", text);
	return SETT_INVALID;
}

static int __attribute__((format(printf, 2, 3))) append_format(struct buffer *ret, const char *format, ...)
{
	char text[256];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (size < 0 || (size_t)size >= sizeof text)
		return SETT_INVALID;
	return buffer_append(ret, text, (size_t)size);
}

static bool
word_is(struct bytes word, const char *text)
{
	return word.size == strlen(text) && strncasecmp((const char *)word.data, text, word.size) == 0;
}

/* The directory must be there; it is kept as an absolute path, since Redis shows it so. */
static int
parse_directory(const struct directive *row, const struct bytes *words, size_t count, const char *old,
		struct buffer *ret, char *reason)
{
	char *given = strndup((const char *)words[0].data, words[0].size);
	if (given == NULL)
		return SETT_NO_MEMORY;
	errno = 0;
	char *real = realpath(given, NULL);
	free(given);
	if (real == NULL)
		return refuse(reason, strerror(errno));
	int status;
	if (access(real, X_OK) != 0)
		status = refuse(reason, strerror(errno));
	else
		status = buffer_append(ret, real, strlen(real));
	free(real);
	return status;
}

static int
parse_save(const struct directive *row, const struct bytes *words, size_t count, const char *old,
	   struct buffer *ret, char *reason)
{
	if (count == 0 || (count == 1 && words[0].size == 0))
		return SETT_OK;
	if (count % 2 != 0)
		return refuse(reason, "Invalid save parameters");
	if (old != NULL) {
		int status = buffer_append(ret, old, strlen(old));
		if (status != SETT_OK)
			return status;
	}
	for (size_t i = 0; i < count; i += 2) {
		int64_t seconds, changes;
		if (!parse_decimal_integer(words[i], &seconds) ||
		    !parse_decimal_integer(words[i + 1], &changes) || seconds < 1 || seconds > INT_MAX ||
		    changes < 0 || changes > INT_MAX)
			return refuse(reason, "Invalid save parameters");
		int status =
			append_format(ret, "%s%" PRId64 " %" PRId64, ret->size ? " " : "", seconds, changes);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

bool
config_next_save_point(const char **text, struct config_save_point *ret)
{
	struct config_save_point point;
	int size = 0;
	if (sscanf(*text, "%" SCNd64 " %" SCNd64 "%n", &point.seconds, &point.changes, &size) != 2)
		return false;
	*text += size;
	*ret = point;
	return true;
}

static const char *const limit_classes[CONFIG_CLIENT_CLASSES] = {"normal", "slave", "pubsub"};
enum { LIMIT_WORDS = 4 }; /* class, hard, soft, seconds */

static int
limit_class(struct bytes word)
{
	for (int i = 0; i < CONFIG_CLIENT_CLASSES; i++)
		if (word_is(word, limit_classes[i]) ||
		    (i == CONFIG_CLIENT_REPLICA && word_is(word, "replica")))
			return i;
	return -1;
}

/* Sets classes from "class hard soft seconds" groups. */
static int
read_limits(const struct bytes *words, size_t count, struct config_output_limit limits[CONFIG_CLIENT_CLASSES],
	    char *reason)
{
	if (count % LIMIT_WORDS != 0)
		return refuse(reason, "Wrong number of arguments in buffer limit configuration.");
	for (size_t i = 0; i < count; i += LIMIT_WORDS) {
		int class = limit_class(words[i]);
		if (class < 0)
			return refuse(reason,
				      "Invalid client class specified in buffer limit configuration.");
		uint64_t hard, soft;
		int64_t seconds;
		if (!parse_memory(words[i + 1], &hard) || !parse_memory(words[i + 2], &soft) ||
		    !parse_decimal_integer(words[i + 3], &seconds) || seconds < 0)
			return refuse(reason,
				      "Error in hard, soft or soft_seconds setting in buffer limit "
				      "configuration.");
		limits[class] = (struct config_output_limit){
			.hard = hard, .soft = soft, .soft_seconds = (uint64_t)seconds};
	}
	return SETT_OK;
}

static int
parse_client_limits(const struct directive *row, const struct bytes *words, size_t count, const char *old,
		    struct buffer *ret, char *reason)
{
	struct config_output_limit limits[CONFIG_CLIENT_CLASSES] = {{0}};
	struct words present = {0};
	int status = words_split(bytes_of_string(old ? old : ""), &present);
	if (status != SETT_OK)
		return status;
	status = read_limits(present.items, present.count, limits, reason);
	words_free(&present);
	if (status == SETT_OK)
		status = read_limits(words, count, limits, reason);
	for (int i = 0; i < CONFIG_CLIENT_CLASSES && status == SETT_OK; i++)
		status = append_format(ret, "%s%s %" PRIu64 " %" PRIu64 " %" PRIu64, i ? " " : "",
				       limit_classes[i], limits[i].hard, limits[i].soft,
				       limits[i].soft_seconds);
	return status;
}

bool
client_limits_read(const char *text, struct config_output_limit ret[CONFIG_CLIENT_CLASSES])
{
	static const char format[] = "normal %" SCNu64 " %" SCNu64 " %" SCNu64 " slave %" SCNu64 " %" SCNu64
				     " %" SCNu64 " pubsub %" SCNu64 " %" SCNu64 " %" SCNu64;
	struct config_output_limit l[CONFIG_CLIENT_CLASSES];
	if (sscanf(text, format, &l[0].hard, &l[0].soft, &l[0].soft_seconds, &l[1].hard, &l[1].soft,
		   &l[1].soft_seconds, &l[2].hard, &l[2].soft, &l[2].soft_seconds) != 9)
		return false;
	memcpy(ret, l, sizeof l);
	return true;
}

static int
parse_score_values(const struct directive *row, const struct bytes *words, size_t count, const char *old,
		   struct buffer *ret, char *reason)
{
	enum { VALUES = 3, BOUND = 2000 };
	if (count != VALUES)
		return refuse(reason, "wrong number of arguments");
	for (size_t i = 0; i < count; i++) {
		int64_t value;
		if (!parse_decimal_integer(words[i], &value) || value < -BOUND || value > BOUND)
			return refuse(reason,
				      "Invalid oom-score-adj-values, elements must be between -2000 "
				      "and 2000.");
		int status = append_format(ret, "%s%" PRId64, i ? " " : "", value);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

/* 'A' stands for all classes but m, n, o and c. */
#define MOST_EVENTS "g$lshzxetd"
static const char event_letters[] = CONFIG_EVENT_LETTERS;

unsigned
events_read(struct bytes word)
{
	unsigned events = 0;
	for (size_t i = 0; i < word.size; i++) {
		const char *found = strchr(event_letters, (char)word.data[i]);
		if (found != NULL && *found != 0)
			events |= 1U << (found - event_letters);
		else if (word.data[i] == 'A')
			events |= (1U << (sizeof MOST_EVENTS - 1)) - 1;
	}
	return events;
}

static int
parse_events(const struct directive *row, const struct bytes *words, size_t count, const char *old,
	     struct buffer *ret, char *reason)
{
	const unsigned all = (1U << (sizeof MOST_EVENTS - 1)) - 1;
	for (size_t i = 0; i < words[0].size; i++) {
		char c = (char)words[0].data[i];
		if (c == 0 || (c != 'A' && strchr(event_letters, c) == NULL))
			return refuse(reason, "Invalid event class character. Use 'Ag$lshzxeKEtmdnoc'.");
	}
	unsigned events = events_read(words[0]);
	bool has_all = (events & all) == all;
	char text[sizeof event_letters + 1];
	size_t size = 0;
	if (has_all)
		text[size++] = 'A';
	for (size_t i = has_all ? sizeof MOST_EVENTS - 1 : 0; i < sizeof event_letters - 1; i++) {
		/* Redis leaves out n behind A. */
		if ((events & 1U << i) != 0 && !(has_all && event_letters[i] == 'n'))
			text[size++] = event_letters[i];
	}
	return buffer_append(ret, text, size);
}

static int
parse_bind(const struct directive *row, const struct bytes *words, size_t count, const char *old,
	   struct buffer *ret, char *reason)
{
	enum { ADDRESSES = 16 };
	if (count > ADDRESSES)
		return refuse(reason, "Too many bind addresses specified.");
	/* A single empty address means none: nothing listens on TCP. */
	if (count == 1 && words[0].size == 0)
		return SETT_OK;
	for (size_t i = 0; i < count; i++) {
		int status = i ? buffer_append(ret, " ", 1) : SETT_OK;
		if (status == SETT_OK)
			status = buffer_append(ret, words[i].data, words[i].size);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

static int
parse_replica_of(const struct directive *row, const struct bytes *words, size_t count, const char *old,
		 struct buffer *ret, char *reason)
{
	/* The default, written by this table itself, is one empty word. */
	if (count == 1 && words[0].size == 0)
		return SETT_OK;
	if (count != 2)
		return refuse(reason, "wrong number of arguments");
	if (word_is(words[0], "no") && word_is(words[1], "one"))
		return SETT_OK;
	int64_t port;
	if (!parse_decimal_integer(words[1], &port) || port < 0 || port > 65535)
		return refuse(reason, "Invalid master port");
	if (words[0].size > 200)
		return refuse(reason, "Invalid master host");
	return append_format(ret, "%.*s %" PRId64, (int)words[0].size, (const char *)words[0].data, port);
}

static int
parse_percentiles(const struct directive *row, const struct bytes *words, size_t count, const char *old,
		  struct buffer *ret, char *reason)
{
	if (count == 1 && words[0].size == 0)
		return SETT_OK;
	for (size_t i = 0; i < count; i++) {
		char text[64], *end;
		if (words[i].size == 0 || words[i].size >= sizeof text)
			return refuse(reason, "Invalid latency-tracking-info-percentiles parameters");
		memcpy(text, words[i].data, words[i].size);
		text[words[i].size] = '\0';
		double value = strtod(text, &end);
		if (*end != '\0' || isnan(value))
			return refuse(reason, "Invalid latency-tracking-info-percentiles parameters");
		if (value < 0 || value > 100)
			return refuse(reason,
				      "latency-tracking-info-percentiles parameters should sit "
				      "between [0.0,100.0]");
		int status = append_format(ret, "%s%.10g", i ? " " : "", value);
		if (status != SETT_OK)
			return status;
	}
	return SETT_OK;
}

const directive_text_parser directive_text_parsers[DIRECTIVE_KINDS] = {
	[KIND_DIRECTORY] = parse_directory,
	[KIND_SAVE] = parse_save,
	[KIND_CLIENT_LIMITS] = parse_client_limits,
	[KIND_SCORE_VALUES] = parse_score_values,
	[KIND_EVENTS] = parse_events,
	[KIND_BIND] = parse_bind,
	[KIND_REPLICA_OF] = parse_replica_of,
	[KIND_PERCENTILES] = parse_percentiles,
};
