/* Places: searches against a look at every place, both layouts, and large results. That replies are those of Redis is
 * compared with redis-server: redis-tests/scripts/geo.txt, random_commands.c. */
#include <math.h>

#include "server_support.h"
#include "storage/base/random.h"
#include "types/geo.h"

static double
within(struct random *random, double low, double high)
{
	return low + (high - low) * (double)random_below(random, 1u << 30) / (double)(1u << 30);
}

/* Anywhere, near the edges of the map, or near one place. */
static struct geo_place
any_place(struct random *random)
{
	switch (random_below(random, 3)) {
	case 0:
		return (struct geo_place){within(random, -180, 180),
					  within(random, -GEO_LATITUDE_MAX, GEO_LATITUDE_MAX)};
	case 1:
		return (struct geo_place){random_below(random, 2) > 0 ? within(random, 179, 180)
								      : within(random, -180, -179),
					  within(random, -85, 85)};
	default:
		return (struct geo_place){within(random, 8, 9), within(random, 47, 48)};
	}
}

static struct geo_shape
any_shape(struct random *random)
{
	struct geo_shape s = {.middle = any_place(random), .unit = 1, .is_box = random_below(random, 2) > 0};
	s.radius = pow(10, within(random, 0, 7));
	s.width = pow(10, within(random, 0, 7));
	s.height = pow(10, within(random, 0, 7));
	return s;
}

static bool
ranges_have(const struct geo_range *ranges, unsigned count, uint64_t score)
{
	unsigned found = 0;
	for (unsigned i = 0; i < count; i++)
		found += score >= ranges[i].low && score < ranges[i].end;
	cr_assert_leq(found, 1, "a score is in two ranges");
	return found == 1;
}

/* The grid is a cylinder: what lies beyond a pole is not searched, as in Redis, nor is what a box of more than half the
 * Earth reaches around it. */
static bool
is_on_the_grid(const struct geo_shape *s)
{
	double reach = s->is_box ? fmax(s->width, s->height) : s->radius;
	return reach < 1000000 && fabs(s->middle.latitude) < 70;
}

Test(geo, ranges_cover_the_shape)
{
	struct random random;
	unsigned inside = 0;
	random_seed(&random, 1);
	for (int i = 0; i < 20000; i++) {
		struct geo_shape s = any_shape(&random);
		struct geo_range ranges[GEO_RANGES_MAX];
		unsigned count = geo_ranges(&s, ranges);
		cr_assert(count >= 1 && count <= GEO_RANGES_MAX);
		for (int j = 0; j < 10; j++) {
			double distance, reach = s.is_box ? fmax(s.width, s.height) : s.radius,
					 degrees = reach / 111000;
			struct geo_place p = {s.middle.longitude + within(&random, -degrees, degrees),
					      s.middle.latitude + within(&random, -degrees, degrees)};
			if (!geo_place_is_valid(p))
				p = any_place(&random);
			uint64_t score = geo_score(p);
			bool has = ranges_have(ranges, count, score);
			if (!is_on_the_grid(&s) || !geo_shape_has(&s, geo_place_of((double)score), &distance))
				continue;
			inside++;
			cr_assert(has, "%.17g,%.17g is not found from %.17g,%.17g", p.longitude, p.latitude,
				  s.middle.longitude, s.middle.latitude);
		}
	}
	cr_assert_gt(inside, 10000);
}

Test(geo, scores_are_near_their_places)
{
	struct random random;
	random_seed(&random, 2);
	for (int i = 0; i < 100000; i++) {
		struct geo_place p = any_place(&random), q = geo_place_of((double)geo_score(p));
		cr_assert_lt(geo_distance(p, q), 0.6);
		cr_assert_eq(geo_score(q), geo_score(p));
	}
	static const double odd[] = {-1, -1e300, 1e300, INFINITY, -INFINITY, 0x1p52, 0x1p63, 0x1p64};
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		cr_assert(geo_place_is_valid(geo_place_of(odd[i])));
}

/* ---- the commands ---- */

enum { PLACES = 3000 };

static void
add_places(struct fixture *f, struct random *random, struct geo_place *places)
{
	char line[100];
	for (int i = 0; i < PLACES; i++) {
		places[i] = any_place(random);
		snprintf(line, sizeof(line), "GEOADD k %.17g %.17g m%d", places[i].longitude,
			 places[i].latitude, i);
		EXPECT(f, 0, line, ":1");
		places[i] = geo_place_of((double)geo_score(places[i]));
	}
}

static int64_t
count_within(const struct geo_place *places, const struct geo_shape *s)
{
	int64_t count = 0;
	double distance;
	for (int i = 0; i < PLACES; i++)
		count += geo_shape_has(s, places[i], &distance);
	return count;
}

Test(geo, searches_find_what_a_look_at_all_finds)
{
	struct fixture *f = fixture_open();
	static struct geo_place places[PLACES];
	struct random random;
	int64_t sum = 0;
	random_seed(&random, 3);
	add_places(f, &random, places);
	for (int i = 0; i < 500; i++) {
		struct geo_shape s = any_shape(&random);
		char line[200], shape[80];
		if (!is_on_the_grid(&s))
			continue;
		if (s.is_box)
			snprintf(shape, sizeof(shape), "BYBOX %.17g %.17g m", s.width, s.height);
		else
			snprintf(shape, sizeof(shape), "BYRADIUS %.17g m", s.radius);
		snprintf(line, sizeof(line), "GEOSEARCHSTORE r k FROMLONLAT %.17g %.17g %s",
			 s.middle.longitude, s.middle.latitude, shape);
		fixture_run_line(f, 0, line);
		int64_t expected = count_within(places, &s),
			found = strtoll((const char *)f->reply.data + 1, NULL, 10);
		cr_assert_eq(found, expected, "%s: %lld instead of %lld", line, (long long)found,
			     (long long)expected);
		fixture_run_line(f, 0, "ZCARD r");
		cr_assert_eq(strtoll((const char *)f->reply.data + 1, NULL, 10), expected);
		sum += found;
	}
	cr_assert_gt(sum, 10000);
	fixture_close(f);
}

/* What the transaction itself has written is found, and a set may take its own place. */
Test(geo, searches_in_a_transaction)
{
	struct fixture *f = fixture_open();
	EXPECT(f, 0, "GEOADD k 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2");
	EXPECT(f, 0, "GEOSEARCH k FROMLONLAT 15 37 BYRADIUS 200 km ASC",
	       "*2\r\n$7\r\nCatania\r\n$7\r\nPalermo");
	EXPECT(f, 0, "MULTI", "+OK");
	EXPECT(f, 0, "GEOADD k 15 37.1 near", "+QUEUED");
	EXPECT(f, 0, "GEOSEARCH k FROMLONLAT 15 37 BYRADIUS 100 km ASC WITHDIST", "+QUEUED");
	EXPECT(f, 0, "GEOSEARCHSTORE k k FROMLONLAT 15 37 BYRADIUS 100 km STOREDIST", "+QUEUED");
	EXPECT(f, 0, "ZRANGE k 0 -1", "+QUEUED");
	EXPECT(f, 0, "EXEC",
	       "*4\r\n:1\r\n*2\r\n*2\r\n$4\r\nnear\r\n$7\r\n11.1226\r\n*2\r\n$7\r\nCatania\r\n$7\r\n56."
	       "4413\r\n:2\r\n"
	       "*2\r\n$4\r\nnear\r\n$7\r\nCatania");
	fixture_close(f);
}
