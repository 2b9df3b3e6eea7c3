#!/usr/bin/python3
"""The package under a systemd, on a whole Debian 12: moved to from redis-server as docs/moving.md says and back, killed, restarted, activated
by its socket, backed up and restored as docs/operating.md says, rebooted, purged.

    boot_test.py PACKAGES CACHE      (folders: of the .deb files; of the Debian folder that is kept, as a tar file)

In a container of systemd-nspawn, so the kernel is the one that runs here, and nothing is cut off from power. Prints a line for each step: ok
or FAILED, and the seconds it took. Root only."""
import glob
import os
import re
import shutil
import sys
import tempfile
import time
from container import Container, Failure, boot_folder
from package_test import commands_of, package_in

HERE = os.path.dirname(os.path.abspath(__file__))
# What the package depends on, and what the test needs there; the package itself is installed there, without a network.
PACKAGES = ["redis-server", "redis-tools", "adduser", "libjemalloc2", "liblua5.1-0", "liblz4-1", "libssl3", "liburcu8", "libxxhash0", "libzstd1"]
LIBRARY = "#!lua name=counting\\nredis.register_function('twice', function(keys, args) return 2 * args[1] end)"
# A row of connections, one after the other, until /run/enough is there: how many were answered, refused, or closed without an answer.
CONNECTIONS = """
answered=0 refused=0 closed=0
while [ ! -e /run/enough ]; do
	if { exec 3<>/dev/tcp/127.0.0.1/6379; } 2>/dev/null; then
		reply=
		printf 'PING\\r\\n' >&3
		read -r -t 120 reply <&3
		if [ "$reply" = $'+PONG\\r' ]; then answered=$((answered + 1)); else closed=$((closed + 1)); fi
		exec 3>&-
	else
		refused=$((refused + 1))
	fi
done
echo $answered $refused $closed >/run/connections
"""
# Through the eyes of a process: what can be written, seen and run, and whose name spaces are its own.
VIEW = """
view=/proc/%s
for space in user mnt ipc; do
	[ "$(readlink $view/ns/$space)" = "$(readlink /proc/1/ns/$space)" ] || echo "own $space"
done
for path in /etc /usr /srv /var/lib /boot /var/lib/sett /etc/sett; do
	{ touch $view/root$path/written && rm $view/root$path/written && echo "$path: written"; } 2>&1 | sed 's/.*: //'
done
for path in /dev/console /dev/vda /dev/mem /root/digest.lua /usr/bin/sett-server; do
	[ ! -e $path ] || [ ! -e $view/root$path ] || echo "$path is seen"
done
for program in /usr/bin/true /bin/dash /usr/bin/redis-cli /usr/bin/sett-server; do
	{ $view/root$program --version </dev/null; } 2>&1 >/dev/null | sed 's/.*: //'
done
$view/root/usr/bin/sett-server --version | cut -d' ' -f1
"""
VIEW_SAYS = """
own user
own mnt
own ipc
Read-only file system
Read-only file system
Read-only file system
Read-only file system
Read-only file system
written
written
/usr/bin/sett-server is seen
Permission denied
Permission denied
Permission denied
Sett
"""


def expect(what, seen, expected):
    if seen != expected:
        raise Failure("%s: expected %r, got %r" % (what, expected, seen))


class Service:
    """Sett, and redis-server, in the container."""

    def __init__(self, container):
        self.container = container
        self.digest = None  # of all keys, as redis-server had them

    def wait(self, condition, seconds=900):
        self.container.shell("timeout %d bash -c 'until %s; do sleep 0.1; done'" % (seconds, condition), seconds + 60)

    def show(self, field, unit="sett"):
        return self.container.shell("systemctl show --value -p %s %s" % (field, unit))

    def redis(self, words):
        return self.container.shell("redis-cli " + words)

    def all_keys(self):
        return self.redis("--eval /root/digest.lua").split("\n")

    def follow(self, page, heading):
        printed = ""
        for command in commands_of(page, heading):
            printed = self.container.shell(command, 900)
        return printed

    def same_data(self):
        expect("all keys, and a library of functions", self.container.shell(
            "redis-cli --eval /root/digest.lua && redis-cli FCALL twice 0 21").split("\n"), [*self.digest, "42"])

    # The steps, in their order.

    def booted(self):
        self.container.power_on()
        self.no_unit_failed()
        expect("redis-server", self.show("ActiveState", "redis-server"), "active")

    def no_unit_failed(self):
        end = time.monotonic() + 1200
        state = "starting"
        while state not in ("running", "degraded") and time.monotonic() < end:
            time.sleep(0.5)
            state = self.container.ask("systemctl is-system-running")[1]
        if state != "running":
            raise Failure("the system is %s\n%s" % (state, self.container.ask("systemctl --failed --no-pager")[1]))

    def redis_filled(self):
        expect("data of every type", self.redis("--eval /root/write_every_type.lua"), "OK")
        expect("a library", self.container.shell('printf "%s" | redis-cli -x FUNCTION LOAD' % LIBRARY), "counting")
        self.digest = self.all_keys()
        if int(self.digest[1]) < 2500:
            raise Failure("only %s keys" % self.digest[1])
        self.redis("CONFIG SET save ''")

    def moved(self):
        before = re.findall(r"db\d+:keys=\d+,expires=\d+", self.redis("INFO keyspace"))
        after = re.findall(r"db\d+:keys=\d+,expires=\d+", self.follow("docs/moving.md", "Moving from Redis"))
        expect("INFO keyspace", after, before)

    def moved_data(self):
        expect("who answers", "sett_version" in self.redis("INFO server"), True)
        self.same_data()
        expect("at the next boot", self.container.ask("systemctl is-enabled sett redis-server")[1].split(), ["enabled", "disabled"])
        self.no_unit_failed()

    def main_pid(self):
        pid = self.show("MainPID")
        expect("a process", pid != "0", True)
        return pid

    def sandbox(self):
        """What the process could do: by way of its own view of the file system, and of what the kernel says of it."""
        pid = self.main_pid()
        status = dict(re.findall(r"(?m)^(\w+):\s+(.*)$", self.container.shell("cat /proc/%s/status" % pid)))
        expect("NoNewPrivs", status["NoNewPrivs"], "1")
        expect("a filter of system calls", status["Seccomp"], "2")
        for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            expect(kind, int(status[kind], 16), 0)
        expect("its user", status["Uid"].split()[0], self.container.shell("id -u sett"))
        printed = self.container.shell(VIEW % pid)
        expect("what it could do", printed.split("\n"), VIEW_SAYS.strip().split("\n"))

    def hardening(self):
        """By systemd's own table: in one row alone it may do what redis-server may not."""
        weak = {}
        for unit in ("sett.service", "redis-server.service"):
            text = self.container.shell("COLUMNS=200 systemd-analyze security --no-pager " + unit)
            weak[unit] = set(re.findall(r"(?m)^\u2717 (\S+)", text))
            expect("rows of " + unit, len(weak[unit]) > 3, True)
        # setpriority, for threads that do TLS handshakes.
        expect("weaker than redis-server's", weak["sett.service"] - weak["redis-server.service"], {"SystemCallFilter=~@resources"})

    def killed(self):
        pid, restarts = self.main_pid(), int(self.show("NRestarts"))
        expect("a last write", self.redis("SET killed after"), "OK")
        self.container.shell("kill -9 " + pid)
        self.wait("[ $(systemctl show --value -p NRestarts sett) = %d ] && [ $(systemctl is-active sett) = active ]" % (restarts + 1))
        expect("another process", self.main_pid() != pid, True)
        expect("the last write", self.redis("GETDEL killed"), "after")
        self.same_data()

    def configuration(self):
        expect("CONFIG SET", self.redis("CONFIG SET slowlog-max-len 77"), "OK")
        expect("CONFIG REWRITE", self.redis("CONFIG REWRITE"), "OK")
        self.container.shell("systemctl restart sett")
        expect("after a restart", self.redis("CONFIG GET slowlog-max-len").split()[-1], "77")
        expect("the file", self.container.shell("stat -c '%U:%G %a' /etc/sett/sett.conf"), "sett:sett 640")

    def saved(self):
        self.container.shell("rm -f /var/lib/sett/dump.rdb")
        self.redis("BGSAVE")
        self.wait("redis-cli INFO persistence | grep -q ^rdb_bgsave_in_progress:0")
        expect("BGSAVE", "rdb_last_bgsave_status:ok" in self.redis("INFO persistence"), True)
        self.container.shell("redis-check-rdb /var/lib/sett/dump.rdb && rm /var/lib/sett/dump.rdb")

    def backed_up(self):
        printed = self.follow("docs/operating.md", "Backup")
        expect("the restored backup: " + printed, printed.startswith("restored: "), True)
        expect("sett-tool check", "clean: " in self.container.shell("sett-tool check /srv/new"), True)

    def restored(self):
        self.redis("FLUSHALL")
        self.follow("docs/operating.md", "Restore")
        self.same_data()
        self.container.shell("rm -r /var/lib/sett.before")

    def socket(self):
        """Connections come all the time, while the service is restarted, killed, and installed again."""
        self.container.shell("systemctl stop sett && systemctl enable --now sett.socket")
        expect("before a connection", self.show("ActiveState"), "inactive")
        expect("the first connection", self.redis("PING"), "PONG")
        self.container.shell("cat >/root/connections <<'EOF'\n%sEOF\nsystemd-run --quiet --unit connections bash /root/connections" % CONNECTIONS)
        for what in ("systemctl restart sett", "systemctl restart sett", "apt-get install -q -y --reinstall ./sett_*.deb"):
            self.container.shell(what + " && sleep 2", 1200)
        self.container.shell("kill -9 " + self.main_pid())
        self.wait("redis-cli PING | grep -q PONG")
        self.container.shell("sleep 2; touch /run/enough")
        self.wait("test -e /run/connections")
        answered, refused, closed = [int(word) for word in self.container.shell("cat /run/connections").split()]
        text = "%d connections answered, %d refused, %d closed unanswered" % (answered, refused, closed)
        # A kill may close one that the server had accepted, and a stop one whose request it had not read yet.
        if refused > 0 or closed > 4 or answered < 20:
            raise Failure(text)
        self.same_data()
        return text

    def rebooted(self):
        expect("a last write", self.redis("SET rebooted after"), "OK")
        boot = "systemctl show --value -p UserspaceTimestampMonotonic"
        before = self.container.shell(boot)
        self.container.reboot()
        expect("another boot", self.container.shell(boot) != before, True)
        self.no_unit_failed()
        expect("redis-server", self.show("ActiveState", "redis-server"), "inactive")
        expect("sett.socket", self.show("ActiveState", "sett.socket"), "active")
        expect("the last write", self.redis("GETDEL rebooted"), "after")
        self.same_data()

    def whole(self):
        self.container.shell("systemctl stop sett.socket sett")
        text = self.container.shell("sett-tool check /var/lib/sett", 900)
        expect("sett-tool check: " + text, "clean: " in text, True)
        expect("its owner", self.container.shell("find /var/lib/sett ! -user sett"), "")
        self.container.shell("systemctl start sett.socket")
        self.same_data()

    def nothing_killed(self):
        """Systemd says so of each end: status=31/SYS."""
        expect("starts are in the journal", self.container.shell("journalctl --no-pager -q -u sett | grep -c 'Started sett'") != "0", True)
        text = self.container.shell("journalctl --no-pager -q -u sett | grep 'status=31/SYS' || true")
        expect("system calls that were not allowed", text, "")

    def moved_back(self):
        self.follow("docs/moving.md", "Moving back")
        expect("who answers", "sett_version" in self.redis("INFO server"), False)
        self.same_data()

    def purged(self):
        self.container.shell("apt-get purge -q -y sett", 600)
        status, text = self.container.ask("pgrep -x sett-server; ls -d /var/lib/sett /etc/sett /lib/systemd/system/sett.* "
                                        "/etc/systemd/system/*/sett.* 2>/dev/null")
        expect("what is left", text, "")
        self.same_data()


def steps(service):
    return (
        ("boots, with redis-server", service.booted),
        ("redis-server has data of every type", service.redis_filled),
        ("moved as docs/moving.md says", service.moved),
        ("all keys, values and deadlines are the same", service.moved_data),
        ("the sandbox holds", service.sandbox),
        ("hardened as redis-server, but for setpriority", service.hardening),
        ("kill -9: systemd restarts it", service.killed),
        ("CONFIG REWRITE in the sandbox, and a restart", service.configuration),
        ("BGSAVE in the sandbox", service.saved),
        ("online backups as docs/operating.md says", service.backed_up),
        ("restored as docs/operating.md says", service.restored),
        ("sett.socket: no connection is refused", service.socket),
        ("reboot", service.rebooted),
        ("sett-tool check is clean", service.whole),
        ("the filter of system calls killed nothing", service.nothing_killed),
        ("moved back as docs/moving.md says", service.moved_back),
        ("purged", service.purged),
    )


def main():
    if os.geteuid() != 0:
        sys.exit("boot_test.py: run it as root")
    package = package_in(os.path.abspath(sys.argv[1]))
    if package is None:
        sys.exit("boot_test.py: no package in " + sys.argv[1])
    folder, failed, begun = tempfile.mkdtemp(prefix="sett-boot."), 0, time.monotonic()
    container = None
    try:
        archive = boot_folder(os.path.abspath(sys.argv[2]), PACKAGES)
        files = [package, *glob.glob(HERE + "/*.lua")]
        container = Container(folder, archive, files)
        for name, step in steps(Service(container)):
            start = time.monotonic()
            try:
                said, word = step() or "", "ok"
            except Failure as failure:
                said, word, failed = "\n" + str(failure), "FAILED", failed + 1
            print("%-6s %6.1f s  %s%s" % (word, time.monotonic() - start, name, ": " + said if said else ""), flush=True)
            if failed and container.process is None:
                break
    finally:
        if container is not None:
            container.off()
        shutil.rmtree(folder)
    print("%d failed, %.0f s" % (failed, time.monotonic() - begun))
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
