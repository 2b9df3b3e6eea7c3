/* Places of members of sorted sets: GEOADD, GEOPOS, GEOHASH, GEODIST. */
#include "cmd/geo.h"

#include "cmd/commands.h"

/* ---- arguments and replies ---- */

bool
context_place(struct command_context *c, const struct bytes *arguments, struct geo_place *ret)
{
	static const char error[] = "ERR value is not a valid float";
	struct geo_place p;
	if (!context_score(c, arguments[0], error, &p.longitude) ||
	    !context_score(c, arguments[1], error, &p.latitude))
		return false;
	if (!geo_place_is_valid(p)) {
		context_errorf(c, "ERR invalid longitude,latitude pair %f,%f", p.longitude, p.latitude);
		return false;
	}
	*ret = p;
	return true;
}

struct unit_word {
	char word[3];
	double metres;
};

bool
context_unit(struct command_context *c, struct bytes argument, double *ret_metres)
{
	static const struct unit_word units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!argument_is(argument, units[i].word))
			continue;
		*ret_metres = units[i].metres;
		return true;
	}
	context_error(c, "ERR unsupported unit provided. please use M, KM, FT, MI");
	return false;
}

void
reply_distance(struct command_context *c, double distance)
{
	resp_bulk_format(c->reply, "%.4f", distance);
}

/* RESP3 has the same digits without quotes. */
static void
reply_coordinate(struct command_context *c, double degrees)
{
	char text[LONG_DOUBLE_TEXT_MAX];
	size_t size = format_long_double(degrees, text, sizeof(text));
	if (c->protocol == 2) {
		resp_bulk(c->reply, text, size);
		return;
	}
	resp_raw(c->reply, ",", 1);
	resp_raw(c->reply, text, size);
	resp_raw(c->reply, "\r\n", 2);
}

void
reply_place(struct command_context *c, struct geo_place p)
{
	resp_array(c->reply, 2);
	reply_coordinate(c, p.longitude);
	reply_coordinate(c, p.latitude);
}

int
find_place(struct zset *z, struct bytes name, struct geo_place *ret)
{
	struct zset_member member;
	int status = zset_find(z, name, &member);
	if (status == SETT_OK)
		*ret = geo_place_of(member.score);
	return status;
}

/* ---- GEOADD ---- */

struct geo_adding {
	bool only_new, only_old, changes;
	bool has_put; /* a member is new, or has another place */
	size_t first; /* argument: the first longitude */
};

static bool
parse_adding(struct command_context *c, struct geo_adding *ret)
{
	struct geo_adding a = {.first = 2};
	for (; a.first < c->argc; a.first++) {
		if (argument_is(c->argv[a.first], "NX"))
			a.only_new = true;
		else if (argument_is(c->argv[a.first], "XX"))
			a.only_old = true;
		else if (argument_is(c->argv[a.first], "CH"))
			a.changes = true;
		else
			break;
	}
	if (a.first == c->argc || (c->argc - a.first) % 3 != 0 || (a.only_new && a.only_old))
		context_syntax_error(c);
	*ret = a;
	return !c->failed;
}

static int
add_place(struct zset *z, struct geo_adding *a, struct bytes name, double score, int64_t *count)
{
	struct zset_member old;
	int status = zset_find(z, name, &old);
	bool is_new = status == SETT_NOT_FOUND;
	if (status != SETT_OK && !is_new)
		return status;
	if ((is_new && a->only_old) || (!is_new && (a->only_new || old.score == score)))
		return SETT_OK;
	*count += is_new || a->changes;
	a->has_put = true;
	return zset_put(z, name, score, is_new ? NULL : &old);
}

int
command_geoadd(struct command_context *c)
{
	struct geo_adding a;
	struct open_zset z;
	int64_t count = 0;
	if (!parse_adding(c, &a))
		return OUTCOME_FAILED;
	size_t places = (c->argc - a.first) / 3;
	uint64_t *scores = arena_allocate(c->arena, places * sizeof(*scores), _Alignof(uint64_t));
	if (scores == NULL)
		return SETT_NO_MEMORY;
	for (size_t i = 0; i < places; i++) {
		struct geo_place place;
		if (!context_place(c, &c->argv[a.first + 3 * i], &place))
			return OUTCOME_FAILED;
		scores[i] = geo_score(place);
	}
	int status = open_zset(c, c->argv[1], &z);
	for (size_t i = 0; status == SETT_OK && i < places; i++)
		status = add_place(&z.zset, &a, c->argv[a.first + 3 * i + 2], (double)scores[i], &count);
	if (status == SETT_OK)
		status = zset_save(&z.zset);
	if (status == SETT_OK)
		resp_integer(c->reply, count);
	return a.has_put ? tell(status, &z.members.key, EVENT_ZSET, "zadd") : status;
}

/* ---- reading ---- */

int
command_geopos(struct command_context *c)
{
	struct open_zset z;
	struct geo_place place;
	int status = open_zset(c, c->argv[1], &z);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++) {
		status = find_place(&z.zset, c->argv[i], &place);
		if (status == SETT_OK)
			reply_place(c, place);
		else if (status == SETT_NOT_FOUND)
			resp_null_array(c->reply);
		else
			return status;
	}
	return SETT_OK;
}

int
command_geohash(struct command_context *c)
{
	struct open_zset z;
	struct geo_place place;
	char text[GEO_TEXT_SIZE];
	int status = open_zset(c, c->argv[1], &z);
	if (status != SETT_OK)
		return status;
	resp_array(c->reply, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++) {
		status = find_place(&z.zset, c->argv[i], &place);
		if (status == SETT_OK) {
			geo_text(place, text);
			resp_bulk(c->reply, text, sizeof(text));
		} else if (status == SETT_NOT_FOUND) {
			resp_null(c->reply);
		} else {
			return status;
		}
	}
	return SETT_OK;
}

int
command_geodist(struct command_context *c)
{
	struct open_zset z;
	struct geo_place from, to;
	double unit = 1;
	if (c->argc == 5 && !context_unit(c, c->argv[4], &unit))
		return OUTCOME_FAILED;
	if (c->argc > 5)
		return context_syntax_error(c);
	int status = open_zset(c, c->argv[1], &z);
	if (status == SETT_OK)
		status = find_place(&z.zset, c->argv[2], &from);
	if (status == SETT_OK)
		status = find_place(&z.zset, c->argv[3], &to);
	if (status == SETT_OK)
		reply_distance(c, geo_distance(from, to) / unit);
	else if (status == SETT_NOT_FOUND)
		resp_null(c->reply);
	return status == SETT_NOT_FOUND ? SETT_OK : status;
}
