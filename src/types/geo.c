/* Places as scores; see geo.h.
 *
 * To find what lies within a shape, the Earth is cut into cells so large that the cell of the middle and its eight
 * neighbours cover the shape: the scores of each cell are one range. */
#include "types/geo.h"

#include <math.h>

#define EARTH_RADIUS 6372797.560856 /* metres */
#define HALF_EQUATOR 20037726.37    /* metres, of the projection */

enum { STEPS = 26 };

/* Degrees from `low` up to `low + size`, which are halved. */
struct span {
	double low, size;
};

static const struct span longitudes = {-GEO_LONGITUDE_MAX, 2 * GEO_LONGITUDE_MAX};
static const struct span latitudes = {-GEO_LATITUDE_MAX, 2 * GEO_LATITUDE_MAX};
static const struct span all_latitudes = {-90, 180};

/* One of 2^steps by 2^steps cells. At the upper end of a span the number may be 2^steps. */
struct cell {
	uint32_t x, y; /* of the longitude, of the latitude */
	unsigned steps;
};

static double
radians(double degrees)
{
	return degrees * (M_PI / 180);
}

static double
degrees(double radians)
{
	return radians / (M_PI / 180);
}

/* ---- cells ---- */

/* The bits of v, with a zero before each. */
static uint64_t
spread(uint32_t v)
{
	uint64_t x = v;
	x = (x | x << 16) & 0x0000ffff0000ffff;
	x = (x | x << 8) & 0x00ff00ff00ff00ff;
	x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
	x = (x | x << 2) & 0x3333333333333333;
	return (x | x << 1) & 0x5555555555555555;
}

/* Every other bit, from the lowest on. */
static uint32_t
gather(uint64_t x)
{
	x &= 0x5555555555555555;
	x = (x | x >> 1) & 0x3333333333333333;
	x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0f;
	x = (x | x >> 4) & 0x00ff00ff00ff00ff;
	x = (x | x >> 8) & 0x0000ffff0000ffff;
	return (uint32_t)(x | x >> 16);
}

static uint32_t
number_in(const struct span *span, double degree, unsigned steps)
{
	double share = (degree - span->low) / span->size;
	return (uint32_t)(share * (double)(1ull << steps));
}

/* The lower edge of the cells with this number. */
static double
edge_of(const struct span *span, uint64_t number, unsigned steps)
{
	return span->low + (double)number / (double)(1ull << steps) * span->size;
}

static struct cell
cell_of(struct geo_place p, unsigned steps)
{
	return (struct cell){.x = number_in(&longitudes, p.longitude, steps),
			     .y = number_in(&latitudes, p.latitude, steps),
			     .steps = steps};
}

static uint64_t
bits_of(struct cell c)
{
	return spread(c.x) << 1 | spread(c.y);
}

static struct geo_range
range_of(struct cell c)
{
	unsigned shift = 2 * (STEPS - c.steps);
	uint64_t bits = bits_of(c);
	return (struct geo_range){.low = bits << shift, .end = (bits + 1) << shift};
}

/* The Earth is round: behind the last cell comes the first. */
static uint32_t
moved(uint32_t number, int by, unsigned steps)
{
	uint32_t mask = (uint32_t)((1ull << steps) - 1);
	return by == 0 ? number : (number + (uint32_t)by) & mask;
}

/* ---- places ---- */

bool
geo_place_is_valid(struct geo_place p)
{
	return p.longitude >= -GEO_LONGITUDE_MAX && p.longitude <= GEO_LONGITUDE_MAX &&
		p.latitude >= -GEO_LATITUDE_MAX && p.latitude <= GEO_LATITUDE_MAX;
}

uint64_t
geo_score(struct geo_place p)
{
	return bits_of(cell_of(p, STEPS));
}

static double
middle_of(const struct span *span, uint32_t number)
{
	double low = edge_of(span, number, STEPS), high = edge_of(span, (uint64_t)number + 1, STEPS);
	double middle = (low + high) / 2, end = -span->low;
	return middle > end ? end : middle < span->low ? span->low : middle;
}

/* A score need not be a place: what does not fit is cut off, as the processor does it for Redis. */
static uint64_t
bits_of_score(double score)
{
	if (score >= 0x1p64)
		return 0;
	if (score < -0x1p63)
		return 1ull << 63;
	return score < 0 ? (uint64_t)(int64_t)score : (uint64_t)score;
}

struct geo_place
geo_place_of(double score)
{
	uint64_t bits = bits_of_score(score);
	return (struct geo_place){.longitude = middle_of(&longitudes, gather(bits >> 1)),
				  .latitude = middle_of(&latitudes, gather(bits))};
}

/* ---- distances ---- */

static double
distance_of_latitudes(double a, double b)
{
	return EARTH_RADIUS * fabs(radians(b) - radians(a));
}

double
geo_distance(struct geo_place a, struct geo_place b)
{
	double v = sin((radians(b.longitude) - radians(a.longitude)) / 2);
	if (v == 0)
		return distance_of_latitudes(a.latitude, b.latitude);
	double latitude_a = radians(a.latitude), latitude_b = radians(b.latitude);
	double u = sin((latitude_b - latitude_a) / 2);
	return 2 * EARTH_RADIUS * asin(sqrt(u * u + cos(latitude_a) * cos(latitude_b) * v * v));
}

bool
geo_shape_has(const struct geo_shape *s, struct geo_place p, double *ret_distance)
{
	double distance;
	if (!s->is_box) {
		distance = geo_distance(s->middle, p);
		if (distance > s->radius * s->unit)
			return false;
	} else {
		struct geo_place below = {.longitude = s->middle.longitude, .latitude = p.latitude};
		if (distance_of_latitudes(p.latitude, s->middle.latitude) > s->height * s->unit / 2 ||
		    geo_distance(p, below) > s->width * s->unit / 2)
			return false;
		distance = geo_distance(s->middle, p);
	}
	*ret_distance = distance;
	return true;
}

/* ---- what covers a shape ---- */

struct bounds {
	double west, south, east, north;
};

/* A degree of longitude is the shorter the farther from the equator: the edge that is farther counts. */
static struct bounds
bounds_of(const struct geo_shape *s)
{
	double height = s->unit * (s->is_box ? s->height / 2 : s->radius);
	double width = s->unit * (s->is_box ? s->width / 2 : s->radius);
	double up = degrees(height / EARTH_RADIUS), latitude = s->middle.latitude;
	double edge = latitude < 0 ? latitude - up : latitude + up;
	double aside = degrees(width / EARTH_RADIUS / cos(radians(edge)));
	return (struct bounds){.west = s->middle.longitude - aside,
			       .south = latitude - up,
			       .east = s->middle.longitude + aside,
			       .north = latitude + up};
}

/* How often to halve, so that a cell and its neighbours cover what lies within the radius, in most cases. */
static unsigned
estimated_steps(double radius, double latitude)
{
	int steps = 1;
	if (radius == 0)
		return STEPS;
	for (; radius < HALF_EQUATOR; radius *= 2)
		steps++;
	steps -= 2;
	/* Towards the poles cells are narrower. */
	if (fabs(latitude) > 66)
		steps -= fabs(latitude) > 80 ? 2 : 1;
	return steps < 1 ? 1 : steps > STEPS ? STEPS : (unsigned)steps;
}

static bool
neighbours_reach(struct cell c, const struct bounds *b)
{
	uint64_t north = moved(c.y, 1, c.steps), south = moved(c.y, -1, c.steps);
	uint64_t east = moved(c.x, 1, c.steps), west = moved(c.x, -1, c.steps);
	return edge_of(&latitudes, north + 1, c.steps) >= b->north &&
		edge_of(&latitudes, south, c.steps) <= b->south &&
		edge_of(&longitudes, east + 1, c.steps) >= b->east &&
		edge_of(&longitudes, west, c.steps) <= b->west;
}

/* Whether the neighbour on that side has to be looked at: not if the middle's own cell already passes the bounds. */
static bool
is_wanted(struct cell c, const struct bounds *b, int east, int north)
{
	if (c.steps < 2)
		return true;
	return !(north < 0 && edge_of(&latitudes, c.y, c.steps) < b->south) &&
		!(north > 0 && edge_of(&latitudes, (uint64_t)c.y + 1, c.steps) > b->north) &&
		!(east < 0 && edge_of(&longitudes, c.x, c.steps) < b->west) &&
		!(east > 0 && edge_of(&longitudes, (uint64_t)c.x + 1, c.steps) > b->east);
}

unsigned
geo_ranges(const struct geo_shape *s, struct geo_range ret[GEO_RANGES_MAX])
{
	static const int sides[GEO_RANGES_MAX][2] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
						     {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
	double radius =
		s->is_box ? sqrt(s->width / 2 * (s->width / 2) + s->height / 2 * (s->height / 2)) : s->radius;
	unsigned steps = estimated_steps(radius * s->unit, s->middle.latitude), count = 0;
	struct bounds bounds = bounds_of(s);
	struct cell middle = cell_of(s->middle, steps);
	if (steps > 1 && !neighbours_reach(middle, &bounds))
		middle = cell_of(s->middle, steps - 1);
	for (int i = 0; i < GEO_RANGES_MAX; i++) {
		int east = sides[i][0], north = sides[i][1];
		struct cell c = {.x = moved(middle.x, east, middle.steps),
				 .y = moved(middle.y, north, middle.steps),
				 .steps = middle.steps};
		struct geo_range range = range_of(c);
		/* Of very large cells, neighbours on both sides are the same. */
		if (is_wanted(middle, &bounds, east, north) &&
		    (count == 0 || ret[count - 1].low != range.low))
			ret[count++] = range;
	}
	return count;
}

/* ---- text ---- */

void
geo_text(struct geo_place p, char ret[GEO_TEXT_SIZE])
{
	static const char digits[] = "0123456789bcdefghjkmnpqrstuvwxyz";
	struct cell c = {.x = number_in(&longitudes, p.longitude, STEPS),
			 .y = number_in(&all_latitudes, p.latitude, STEPS),
			 .steps = STEPS};
	uint64_t bits = bits_of(c);
	/* 52 bits are ten digits and a part of one, which Redis does not tell. */
	for (int i = 0; i < GEO_TEXT_SIZE - 1; i++)
		ret[i] = digits[bits >> (2 * STEPS - 5 * (i + 1)) & 31];
	ret[GEO_TEXT_SIZE - 1] = digits[0];
}
