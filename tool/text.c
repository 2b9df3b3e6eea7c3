#include "text.h"

#include <inttypes.h>
#include <time.h>

#include "keyspace/describe.h"

static void
print_byte(FILE *out, uint8_t b)
{
	switch (b) {
	case '"':
	case '\\':
		fprintf(out, "\\%c", b);
		return;
	case '\n':
		fputs("\\n", out);
		return;
	case '\r':
		fputs("\\r", out);
		return;
	case '\t':
		fputs("\\t", out);
		return;
	default:
		break;
	}
	if (b >= 0x20 && b < 0x7f)
		fputc(b, out);
	else
		fprintf(out, "\\x%02x", b);
}

void
print_bytes(FILE *out, struct bytes b, size_t most)
{
	size_t shown = b.size < most ? b.size : most;
	fputc('"', out);
	for (size_t i = 0; i < shown; i++)
		print_byte(out, b.data[i]);
	fputc('"', out);
	if (shown < b.size)
		fprintf(out, "... (%zu bytes)", b.size);
}

void
print_key(FILE *out, struct bytes key, bool raw)
{
	struct engine_key k = raw ? (struct engine_key){0} : keyspace_describe_key(key);
	switch (k.kind) {
	case ENGINE_KEY_OTHER:
		print_bytes(out, key, SIZE_MAX);
		break;
	case ENGINE_KEY_EPOCH:
		fprintf(out, "epoch-of-db %u", k.db);
		break;
	case ENGINE_KEY_NEXT_EPOCH:
		fputs("next-epoch", out);
		break;
	case ENGINE_KEY_NEXT_OBJECT:
		fputs("next-object", out);
		break;
	case ENGINE_KEY_MEMBER_SEED:
		fputs("member-seed", out);
		break;
	case ENGINE_KEY_KNOWN_FILES:
		fputs("known-files", out);
		break;
	case ENGINE_KEY_POSITION:
		fputs("replication-position", out);
		break;
	case ENGINE_KEY_STEM_COUNT:
		fputs("stems-of-cursors", out);
		break;
	case ENGINE_KEY_STEM:
		fprintf(out, "stem-of-cursors %" PRIu32 " %" PRIu32, k.generation, k.number);
		break;
	case ENGINE_KEY_LIBRARIES:
		fputs("libraries", out);
		break;
	case ENGINE_KEY_LIBRARY:
		fputs("library ", out);
		print_bytes(out, k.name, SIZE_MAX);
		break;
	case ENGINE_KEY_ELEMENT:
		fprintf(out, "epoch %" PRIu64 " object %" PRIu64 " ", k.epoch, k.object);
		print_bytes(out, k.name, SIZE_MAX);
		break;
	case ENGINE_KEY_ROOT:
		fprintf(out, "epoch %" PRIu64 " ", k.epoch);
		print_bytes(out, k.name, SIZE_MAX);
		if (k.is_cut)
			fputs("...", out);
		break;
	}
}

struct size_text
size_text(uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	struct size_text ret;
	double v = (double)bytes;
	size_t unit = 0;
	for (; v >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		v /= 1024;
	snprintf(ret.text, sizeof(ret.text), unit == 0 ? "%.0f %s" : "%.1f %s", v, units[unit]);
	return ret;
}

struct time_text
time_text(uint64_t milliseconds)
{
	struct time_text ret;
	struct tm tm;
	time_t seconds = (time_t)(milliseconds / 1000);
	if (milliseconds == 0) {
		snprintf(ret.text, sizeof(ret.text), "no time");
		return ret;
	}
	/* What is no year of four digits is shown as the number it is. */
	if (milliseconds >= 253402300800000U || !gmtime_r(&seconds, &tm)) {
		snprintf(ret.text, sizeof(ret.text), "%" PRIu64 " ms", milliseconds);
		return ret;
	}
	size_t n = strftime(ret.text, sizeof(ret.text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret.text + n, sizeof(ret.text) - n, ".%03uZ", (unsigned)(milliseconds % 1000));
	return ret;
}

void
json_string(FILE *out, struct bytes b)
{
	fputc('"', out);
	for (size_t i = 0; i < b.size; i++) {
		uint8_t c = b.data[i];
		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c >= 0x20 && c < 0x7f)
			fputc(c, out);
		else
			fprintf(out, "\\u%04x", c);
	}
	fputc('"', out);
}

void
json_text(FILE *out, const char *text)
{
	json_string(out, bytes_of_string(text));
}
