/* oom-score-adj: see oom_score.h.
 *
 * Of the three values of oom-score-adj-values the first is this server's; the others are for replicas and for forked
 * children. CONFIG SET runs its checks before it commits, perhaps more than once: the check writes the value and puts the
 * old one back. */
#include "oom_score.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { SCORE_MIN = -1000, SCORE_MAX = 1000, RELATIVE = 1 };

static const char path[] = "/proc/self/oom_score_adj";

static bool
read_score(int *ret)
{
	char text[32];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size <= 0)
		return false;
	text[size] = '\0';
	*ret = (int)strtol(text, NULL, 10);
	return true;
}

static bool
write_score(struct oom_score *o, int score)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && dprintf(fd, "%d", score) > 0;
	if (!ok)
		log_sink_printf(&o->sink, LOG_LEVEL_WARNING, "Unable to write oom_score_adj: %s",
				strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

/* What the configuration makes of `base`. */
static int
wanted_score(const struct config *config, int base)
{
	long score = strtol(config->oom_score_values, NULL, 10);
	if (config->oom_score_adj == RELATIVE)
		score += base;
	return (int)(score < SCORE_MIN ? SCORE_MIN : score > SCORE_MAX ? SCORE_MAX : score);
}

/* Under the configuration's lock. */
static bool
allows(void *arg, const struct config *planned, char *ret_reason, size_t size)
{
	struct oom_score *o = arg;
	int now = 0;
	if (planned->oom_score_adj == 0)
		return true;
	mutex_lock(&o->mutex);
	bool ok = read_score(&now) && write_score(o, wanted_score(planned, o->adjusted ? o->base : now)) &&
		write_score(o, now);
	mutex_unlock(&o->mutex);
	if (!ok)
		snprintf(ret_reason, size,
			 "Failed to apply new oom_score_adj configuration, check server logs.");
	return ok;
}

static void
changed(void *arg)
{
	struct oom_score *o = arg;
	mutex_lock(config_lock(o->config));
	mutex_lock(&o->mutex);
	bool wanted = o->config->oom_score_adj != 0;
	if (wanted && !o->adjusted)
		o->adjusted = read_score(&o->base);
	if (o->adjusted)
		write_score(o, wanted ? wanted_score(o->config, o->base) : o->base);
	o->adjusted = o->adjusted && wanted;
	mutex_unlock(&o->mutex);
	mutex_unlock(config_lock(o->config));
}

int
oom_score_start(struct oom_score *o, struct config *config, struct log_sink sink)
{
	*o = (struct oom_score){.config = config, .sink = sink};
	mutex_init(&o->mutex);
	changed(o);
	if (config_guard(config, "oom-score-adj", allows, o) != SETT_OK ||
	    config_guard(config, "oom-score-adj-values", allows, o) != SETT_OK ||
	    config_listen(config, "oom-score-adj", changed, o) != SETT_OK ||
	    config_listen(config, "oom-score-adj-values", changed, o) != SETT_OK)
		return SETT_NO_MEMORY;
	return SETT_OK;
}
