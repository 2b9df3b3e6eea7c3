#!/bin/sh
# What the image starts. It takes the arguments of redis' image:
#
#     (none)                            the server with /etc/sett/sett.conf
#     --directive value ...             ... and directives after it
#     FILE.conf [--directive ...]       the server with this file in its place
#     redis-server or sett-server ...   likewise
#     anything else                     that program, redis-cli for example
#
# and its variables: REDIS_ARGS, more directives; SKIP_FIX_PERMS and SKIP_DROP_PRIVS, below.
set -e

case "${1:-}" in
'' | -* | *.conf) set -- sett-server "$@" ;;
redis-server) shift && set -- sett-server "$@" ;;
esac
[ "$1" = sett-server ] || exec "$@"
shift

# As root, files of the data directory are given to the user, who then runs the server.
as_user=
if [ "$(id -u)" = 0 ] && [ -z "${SKIP_DROP_PRIVS:-}" ]; then
	[ -n "${SKIP_FIX_PERMS:-}" ] || find . ! -user sett -exec chown sett:sett '{}' +
	as_user='setpriv --reuid sett --regid sett --clear-groups'
fi
# A file that was created by others may be readable by others; those of the database need not.
[ "$(umask)" != 0022 ] || umask 0077

case "${1:-}" in
-v | --version | -h | --help) exec sett-server "$@" ;;
'' | -*) set -- /etc/sett/sett.conf "$@" ;;
*)
	# Whoever publishes the port says who comes in; a file that says nothing of protected-mode means no, as in redis' image.
	file=$1
	shift
	if grep -qi '^[[:space:]]*protected-mode[[:space:]]' "$file"; then set -- "$file" "$@"; else set -- "$file" --protected-mode no "$@"; fi
	;;
esac
# shellcheck disable=SC2086
exec $as_user sett-server "$@" ${REDIS_ARGS:-}
