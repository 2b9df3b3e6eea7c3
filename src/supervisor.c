/* See supervisor.h.
 *
 * systemd's protocol is one datagram of NAME=value lines to the socket that NOTIFY_SOCKET names (sd_notify(3)):
 * a path, or an abstract address that begins with '@'. */
#include "supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* How much longer than now systemd is asked to wait for a server that makes progress. */
#define EXTENSION_US "30000000"

/* 0 if it was sent, -1 with errno; ENOENT if nobody listens. */
static int
send_to_systemd(const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	if (path == NULL || (path[0] != '/' && path[0] != '@')) {
		errno = ENOENT;
		return -1;
	}
	size_t size = strlen(path);
	if (size >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, size);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
	ssize_t sent =
		sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address, length);
	int saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return sent < 0 ? -1 : 0;
}

static bool
tell_systemd(const struct supervisor *s, const char *text)
{
	if (send_to_systemd(text) == 0)
		return true;
	if (errno == ENOENT && getenv("NOTIFY_SOCKET") == NULL)
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING,
				"systemd supervision error: NOTIFY_SOCKET not found!");
	else
		log_sink_printf(&s->sink, LOG_LEVEL_WARNING, "systemd supervision error: %s",
				strerror(errno));
	return false;
}

static enum config_supervised
find_mode(const struct supervisor *s, const struct config *config)
{
	enum config_supervised mode = (enum config_supervised)config->supervised;
	if (mode != CONFIG_SUPERVISED_AUTO)
		return mode;
	if (getenv("UPSTART_JOB") != NULL) {
		log_sink_printf(&s->sink, LOG_LEVEL_VERBOSE, "Upstart supervision detected.");
		return CONFIG_SUPERVISED_UPSTART;
	}
	if (getenv("NOTIFY_SOCKET") != NULL) {
		log_sink_printf(&s->sink, LOG_LEVEL_VERBOSE, "Systemd supervision detected.");
		return CONFIG_SUPERVISED_SYSTEMD;
	}
	return CONFIG_SUPERVISED_NO;
}

void
supervisor_find(struct supervisor *s, const struct config *config, struct log_sink sink)
{
	*s = (struct supervisor){.sink = sink};
	enum config_supervised mode = find_mode(s, config);
	if (mode == CONFIG_SUPERVISED_UPSTART) {
		if (getenv("UPSTART_JOB") == NULL) {
			log_sink_printf(&sink, LOG_LEVEL_WARNING,
					"upstart supervision requested, but UPSTART_JOB not found!");
			return;
		}
		log_sink_printf(&sink, LOG_LEVEL_NOTICE,
				"supervised by upstart, will stop to signal readiness.");
		unsetenv("UPSTART_JOB");
	} else if (mode == CONFIG_SUPERVISED_SYSTEMD) {
		log_sink_printf(&sink, LOG_LEVEL_WARNING,
				"Supervised by systemd. Please make sure you set appropriate values for "
				"TimeoutStartSec and TimeoutStopSec in your service unit.");
		if (!tell_systemd(s, "STATUS=Sett is loading...\n"))
			return;
	}
	s->mode = mode;
}

const char *
supervisor_name(const struct supervisor *s)
{
	return s->mode == CONFIG_SUPERVISED_SYSTEMD    ? "systemd"
		: s->mode == CONFIG_SUPERVISED_UPSTART ? "upstart"
						       : "no";
}

void
supervisor_progress(const struct supervisor *s, const char *what, uint64_t done, uint64_t total)
{
	char text[160];
	if (s->mode != CONFIG_SUPERVISED_SYSTEMD)
		return;
	snprintf(text, sizeof(text),
		 "STATUS=%s: %" PRIu64 " of %" PRIu64 " bytes\nEXTEND_TIMEOUT_USEC=" EXTENSION_US "\n", what,
		 done, total);
	tell_systemd(s, text);
}

void
supervisor_ready(const struct supervisor *s)
{
	if (s->mode == CONFIG_SUPERVISED_SYSTEMD)
		tell_systemd(s, "READY=1\nSTATUS=Ready to accept connections\n");
	else if (s->mode == CONFIG_SUPERVISED_UPSTART)
		raise(SIGSTOP);
}

void
supervisor_stopping(const struct supervisor *s)
{
	if (s->mode == CONFIG_SUPERVISED_SYSTEMD)
		tell_systemd(s, "STOPPING=1\nSTATUS=Closing the database\n");
}
