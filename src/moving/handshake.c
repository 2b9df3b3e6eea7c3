/* See handshake.h. */
#include "moving/handshake.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE = 1024 };

/* ---- what the master's lines mean ---- */

static bool
has_prefix(const char *line, const char *prefix)
{
	return strncmp(line, prefix, strlen(prefix)) == 0;
}

/* An id at the beginning of the text; the rest of it, or NULL. */
static const char *
read_id(const char *text, char ret[REPLICATION_ID_SIZE + 1])
{
	for (size_t i = 0; i < REPLICATION_ID_SIZE; i++)
		if (!isxdigit((unsigned char)text[i]))
			return NULL;
	memcpy(ret, text, REPLICATION_ID_SIZE);
	ret[REPLICATION_ID_SIZE] = '\0';
	return text + REPLICATION_ID_SIZE;
}

/* Decimal digits up to the end of the text, at most 2^63 - 1. */
static bool
read_number(const char *text, uint64_t *ret)
{
	uint64_t number = 0;
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (!isdigit((unsigned char)*text) || number > ((uint64_t)INT64_MAX - 9) / 10)
			return false;
		number = number * 10 + (uint64_t)(*text - '0');
	}
	*ret = number;
	return true;
}

void
sync_answer_read(const char *line, struct sync_answer *ret)
{
	static const char full[] = "+FULLRESYNC ", goes_on[] = "+CONTINUE";
	*ret = (struct sync_answer){.kind = SYNC_MALFORMED};
	if (has_prefix(line, full)) {
		const char *rest = read_id(line + sizeof(full) - 1, ret->id);
		if (rest != NULL && *rest == ' ' && read_number(rest + 1, &ret->offset))
			ret->kind = SYNC_FULL;
	} else if (has_prefix(line, goes_on)) {
		const char *rest = line + sizeof(goes_on) - 1;
		if (*rest == '\0' ||
		    (*rest == ' ' && (rest = read_id(rest + 1, ret->id)) != NULL && *rest == '\0'))
			ret->kind = SYNC_CONTINUE;
	} else if (has_prefix(line, "-NOMASTERLINK") || has_prefix(line, "-LOADING")) {
		ret->kind = SYNC_LATER;
	} else if (line[0] == '-') {
		ret->kind = SYNC_UNKNOWN;
	}
}

bool
payload_header_read(const char *line, struct payload_header *ret)
{
	static const char marked[] = "$EOF:";
	*ret = (struct payload_header){0};
	if (!has_prefix(line, marked))
		return line[0] == '$' && read_number(line + 1, &ret->size);
	ret->has_mark = true;
	if (strlen(line + sizeof(marked) - 1) != PAYLOAD_MARK_SIZE)
		return false;
	memcpy(ret->mark, line + sizeof(marked) - 1, PAYLOAD_MARK_SIZE);
	return true;
}

/* ---- the exchange ---- */

static int
ask(struct link *l, const struct handshake *h, const char *const *words, size_t count, char line[LINE_SIZE],
    struct sett_error *error)
{
	int status = link_send_words(l, words, count, h->timeout_ms, error);
	return status == SETT_OK ? link_read_line(l, line, LINE_SIZE, h->timeout_ms, error) : status;
}

static int
ping(struct link *l, const struct handshake *h, struct sett_error *error)
{
	char line[LINE_SIZE];
	const char *words[] = {"PING"};
	int status = ask(l, h, words, 1, line, error);
	if (status != SETT_OK)
		return status;
	/* It is there; AUTH follows. Before Redis 2.8 "operation not permitted" was said for NOAUTH. */
	bool is_there = line[0] == '+' || has_prefix(line, "-NOAUTH") || has_prefix(line, "-NOPERM") ||
		has_prefix(line, "-ERR operation not permitted");
	if (!is_there)
		return sett_error_set(error, SETT_INVALID, 0, "Error reply to PING from master: '%s'", line);
	log_sink_printf(&h->sink, LOG_LEVEL_NOTICE, "Master replied to PING, replication can continue...");
	return SETT_OK;
}

static int
authenticate(struct link *l, const struct handshake *h, struct sett_error *error)
{
	char line[LINE_SIZE];
	struct bytes words[3] = {BYTES_LITERAL("AUTH")};
	size_t count = 1;
	if (h->password.size == 0)
		return SETT_OK;
	if (h->user != NULL)
		words[count++] = bytes_of_string(h->user);
	words[count++] = h->password;
	int status = link_send_request(l, words, count, h->timeout_ms, error);
	if (status == SETT_OK)
		status = link_read_line(l, line, LINE_SIZE, h->timeout_ms, error);
	if (status == SETT_OK && line[0] == '-')
		status = sett_error_set(error, SETT_INVALID, 0, "Unable to AUTH to MASTER: %s", line);
	return status;
}

/* What an older master does not understand it can do without. */
static int
configure(struct link *l, const struct handshake *h, const char *const *words, size_t count,
	  struct sett_error *error)
{
	char line[LINE_SIZE];
	int status = ask(l, h, words, count, line, error);
	if (status == SETT_OK && line[0] == '-')
		log_sink_printf(&h->sink, LOG_LEVEL_NOTICE,
				"(Non critical) Master does not understand REPLCONF %s: %s", words[1], line);
	return status;
}

int
handshake_introduce(struct link *l, const struct handshake *h, struct sett_error *error)
{
	char port[16];
	snprintf(port, sizeof(port), "%u", h->port);
	const char *listens[] = {"REPLCONF", "listening-port", port};
	const char *address[] = {"REPLCONF", "ip-address", h->announced_ip};
	const char *can[] = {"REPLCONF", "capa", "eof", "capa", "psync2", "capa", "field-deadlines"};
	int status = ping(l, h, error);
	if (status == SETT_OK)
		status = authenticate(l, h, error);
	if (status == SETT_OK)
		status = configure(l, h, listens, 3, error);
	if (status == SETT_OK && h->announced_ip != NULL)
		status = configure(l, h, address, 3, error);
	if (status == SETT_OK)
		status = configure(l, h, can, 7, error);
	return status;
}

static int
fall_back(struct link *l, const struct handshake *h, const char *line, struct sett_error *error)
{
	const char *words[] = {"SYNC"};
	log_sink_printf(&h->sink, LOG_LEVEL_NOTICE,
			"Master does not support PSYNC or is in error state (reply: %s); retrying with SYNC",
			line);
	return link_send_words(l, words, 1, h->timeout_ms, error);
}

int
handshake_ask(struct link *l, const struct handshake *h, const struct stream_position *p,
	      struct sync_answer *ret, struct sett_error *error)
{
	char line[LINE_SIZE], from[32] = "-1";
	bool goes_on = p->id[0] != '\0';
	if (goes_on)
		snprintf(from, sizeof(from), "%" PRIu64, p->offset + 1);
	const char *words[] = {"PSYNC", goes_on ? p->id : "?", from, "FAILOVER"};
	log_sink_printf(&h->sink, LOG_LEVEL_NOTICE,
			goes_on ? "Trying a partial resynchronization (request %s:%s)."
				: "Partial resynchronization not possible (no cached master)",
			words[1], from);
	int status = ask(l, h, words, h->fails_over ? 4 : 3, line, error);
	if (status != SETT_OK)
		return status;
	sync_answer_read(line, ret);
	if (ret->kind == SYNC_MALFORMED)
		return sett_error_set(error, SETT_CORRUPT, 0, "Unexpected reply to PSYNC from master: %s",
				      line);
	if (ret->kind == SYNC_LATER)
		return sett_error_set(error, SETT_INVALID, 0,
				      "Master is currently unable to PSYNC but should be in the future: %s",
				      line);
	if (ret->kind == SYNC_UNKNOWN && h->fails_over)
		return sett_error_set(error, SETT_INVALID, 0, "Error reply to PSYNC FAILOVER: %s", line);
	return ret->kind == SYNC_UNKNOWN ? fall_back(l, h, line, error) : SETT_OK;
}
