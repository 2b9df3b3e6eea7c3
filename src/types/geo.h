/* Places on the Earth as scores of sorted sets, so that places near each other have scores near each other, as Redis
 * stores them. No function here knows of keys.
 *
 * A score is a geohash of 52 bits (G. Niemeyer 2008; G. M. Morton 1966 for the interleaving): longitude and latitude are
 * each halved 26 times, and the 26 numbers of the halves are interleaved, the longitude's first. The latitudes are those
 * of the web Mercator projection (EPSG:3857), so that a cell is about a square. Distances are those of the haversine
 * formula on a sphere. */
#ifndef SETT_TYPES_GEO_H
#define SETT_TYPES_GEO_H

#include <stdbool.h>
#include <stdint.h>

#define GEO_LONGITUDE_MAX 180.0
#define GEO_LATITUDE_MAX 85.05112878

struct geo_place {
	double longitude, latitude; /* degrees */
};

/* A circle, or a box as high and as wide at its middle as said. */
struct geo_shape {
	struct geo_place middle;
	bool is_box;
	double unit; /* metres of one of: */
	double radius, width, height;
};

/* Scores from `low` up to `end`. */
struct geo_range {
	uint64_t low, end;
};

bool geo_place_is_valid(struct geo_place);
/* The place is valid. */
uint64_t geo_score(struct geo_place);
/* The middle of the cell that a score stands for. Any score has one. */
struct geo_place geo_place_of(double score);
/* Metres. */
double geo_distance(struct geo_place, struct geo_place);
/* Whether the place is within the shape; then its distance from the middle, in metres. */
bool geo_shape_has(const struct geo_shape *, struct geo_place, double *ret_distance);
/* Ranges of scores that together have all places within the shape, and no score twice, in the order in which Redis goes
 * through them. Returns how many. */
enum { GEO_RANGES_MAX = 9 };
unsigned geo_ranges(const struct geo_shape *, struct geo_range ret[GEO_RANGES_MAX]);
/* The place as a geohash as others write it (latitudes from -90 to 90), in base 32. */
enum { GEO_TEXT_SIZE = 11 };
void geo_text(struct geo_place, char ret[GEO_TEXT_SIZE]);

#endif
