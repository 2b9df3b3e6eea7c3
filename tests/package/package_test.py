#!/usr/bin/python3
"""The packages on a plain Debian 12 folder: installed, started as the service's user under its filter of system calls, upgraded
from an earlier commit's package and from data of 0.1, moved to from Redis and back as docs/moving.md says, removed and purged. Root only.

    package_test.py PACKAGES CACHE [OLDER-PACKAGES]      (folders: of the .deb files; of the Debian folder that is kept, as a tar
                                                         file; of an earlier commit's .deb files, else upgrades begin with the
                                                         same package under a lower number)

There is no systemd in the folder: `systemctl` is done here, by what the unit files say. What the packages' own scripts ask of it
is noted, and looked at. Everything runs in a name space of mounts and of the network, so that port 6379 is free, and nothing
outside is touched."""
import ctypes
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, "/usr/lib/python3/dist-packages")
import seccomp  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
WAIT_S = 120
PR_SET_NO_NEW_PRIVS = 38
libc = ctypes.CDLL(None, use_errno=True)
# What packages meet as systemctl: all is enabled that has its link, all is active, and what else is asked is noted.
SYSTEMCTL = """#!/bin/sh
verb= units=
for word; do
	case $word in
	-*) ;;
	*) if [ -z "$verb" ]; then verb=$word; else units="$units $word"; fi ;;
	esac
done
masked=false
for unit in $units; do
	[ "$(readlink "/etc/systemd/system/$unit")" != /dev/null ] || masked=true
done
case $verb in
is-enabled) ! $masked && ls /etc/systemd/system/*.wants/"${units# }" >/dev/null 2>&1 && echo enabled ;;
is-active) ;;
preset)
	mkdir -p /etc/systemd/system/multi-user.target.wants
	ln -sf "/lib/systemd/system/${units# }" /etc/systemd/system/multi-user.target.wants/
	;;
start | restart) ! $masked && echo "$verb$units" >>/run/systemctl ;;
*) echo "$verb$units" >>/run/systemctl ;;
esac
"""


def fail(text):
    print("FAILED: " + text, flush=True)
    sys.exit(1)


def expect(what, seen, expected):
    if seen != expected:
        fail("%s: expected %r, got %r" % (what, expected, seen))


def run(*command, timeout_s=900, **how):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, **how)
    if done.returncode != 0:
        fail("%s: exit %d\n%s" % (" ".join(command), done.returncode, done.stdout[-4000:]))
    return done.stdout


def wait_until(what, condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            fail(what)
        time.sleep(0.02)


def allowed_calls(lines):
    """The numbers that SystemCallFilter= lines leave, from systemd's own groups."""
    names = set()

    def members(word):
        if not word.startswith("@"):
            return {word}
        found = set()
        for line in run("systemd-analyze", "syscall-filter", word).splitlines()[1:]:
            name = line.strip()
            if name and not name.startswith("#"):
                found |= members(name)
        return found

    for line in lines:
        words = line.lstrip("~").split()
        group = set().union(*(members(word) for word in words))
        names = names - group if line.startswith("~") else names | group
    return names | members("@default")


class Unit:
    """What a service's unit file says, as far as it matters in a folder without systemd."""

    def __init__(self, root, name):
        self.name = name
        self.settings = {}
        with open("%s/lib/systemd/system/%s.service" % (root, name)) as file:
            for line in file:
                found = re.match(r"(\w+)=(.*)", line.strip())
                if found:
                    self.settings.setdefault(found[1], []).append(found[2])
        self.calls = allowed_calls(self.settings["SystemCallFilter"])

    def one(self, key):
        return self.settings[key][-1]


class World:
    """The folder, and what runs in it."""

    def __init__(self, root):
        self.root = root
        self.running = {}

    def shell(self, command):
        return run("chroot", self.root, "/bin/sh", "-ec", command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                   "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "HOME": "/root"}, cwd="/")

    def redis(self, *words):
        return run("chroot", self.root, "redis-cli", *words, env={"PATH": "/usr/sbin:/usr/bin"}).strip()

    def path(self, inside):
        return self.root + inside

    def start(self, name):
        """As systemd: Type=notify, the user, no privileges, the filter of system calls."""
        unit = Unit(self.root, name)
        expect("the type of " + name, unit.one("Type"), "notify")
        notify = self.path("/run/notify")
        if os.path.exists(notify):
            os.unlink(notify)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(notify)
        os.chmod(notify, 0o666)
        listener.settimeout(0.1)
        account = [line.split(":") for line in self.shell("getent passwd " + unit.one("User")).splitlines()][0]
        uid, gid = int(account[2]), int(account[3])
        runtime = self.path("/run/" + unit.one("RuntimeDirectory"))
        os.makedirs(runtime, exist_ok=True)
        os.chown(runtime, uid, gid)
        umask = int(unit.one("UMask"), 8)

        def enter():
            os.chroot(self.root)
            os.chdir("/")
            os.umask(umask)
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
                raise OSError("prctl")
            calls = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
            for call in unit.calls:
                try:
                    calls.add_rule(seccomp.ALLOW, call)
                except (RuntimeError, OSError, ValueError):
                    pass  # of another architecture
            calls.load()

        log = open(self.path("/run/%s.log" % name), "w")
        process = subprocess.Popen(unit.one("ExecStart").split(), preexec_fn=enter, stdout=log, stderr=log,
                                   env={"PATH": "/usr/bin", "NOTIFY_SOCKET": "/run/notify"})
        self.running[name] = process
        said, end = "", time.monotonic() + WAIT_S
        while "READY=1" not in said:
            try:
                said += listener.recv(4096).decode() + "\n"
            except TimeoutError:
                if process.poll() is not None or time.monotonic() > end:
                    fail("%s is not ready; exit %s\n%s" % (name, process.poll(), self.log(name)))
        listener.close()

    def log(self, name):
        with open(self.path("/run/%s.log" % name)) as file:
            return file.read()[-3000:]

    def stop(self, name):
        process = self.running.pop(name, None)
        if process is not None:
            process.terminate()
            code = process.wait(WAIT_S)
            if code != 0:
                fail("%s ended with %d\n%s" % (name, code, self.log(name)))

    def asked(self, *words):
        """What packages have asked of systemctl since the last call, of `words`, in order."""
        path = self.path("/run/systemctl")
        if not os.path.exists(path):
            return []
        with open(path) as file:
            lines = file.read().splitlines()
        os.unlink(path)
        return [line for line in lines if any(word in line.split() for word in words)]

    def systemctl(self, words):
        verb, *units = [word for word in words if not word.startswith("--")]
        for unit in units:
            mask = self.path("/etc/systemd/system/%s.service" % unit)
            if verb == "mask":
                os.symlink("/dev/null", mask)
            elif verb == "unmask":
                os.unlink(mask)
            elif verb in ("stop", "disable"):
                self.stop(unit)
            elif verb in ("start", "enable") and not os.path.lexists(mask):
                self.start(unit)
            else:
                fail("systemctl " + " ".join(words))

    def end(self):
        for process in self.running.values():
            process.kill()
            process.wait()


def commands_of(page, heading):
    """The indented lines under a heading."""
    with open(os.path.join(SOURCE, page)) as file:
        part = file.read().split("\n## " + heading + "\n")[1].split("\n## ")[0]
    found = [line[4:] for line in part.splitlines() if line.startswith("    ")]
    if len(found) < 4:
        fail("%s, %s: only %d commands" % (page, heading, len(found)))
    return found


def follow(world, page, heading):
    """Runs what the page says; what the last command prints. Clients write until the server stops."""
    printed = ""
    for command in [part for line in commands_of(page, heading) for part in line.split(" && ")]:
        if command.startswith(("systemctl stop ", "systemctl disable ")):
            expect("a late write", world.redis("SET", "late", heading), "OK")
        if command.startswith("systemctl "):
            world.systemctl(command.split()[1:])
        else:
            printed = world.shell("cd /root; " + command.replace("apt-get install", "apt-get install -q"))
    return printed.strip()


def keys_of(keyspace):
    """INFO keyspace's numbers of keys."""
    return [int(number) for number in re.findall(r"(?m)^db\d+:keys=(\d+),", keyspace)]


def package_in(folder):
    """The package `sett` in a folder; None if there is none."""
    found = [path for path in glob.glob(folder + "/sett_*.deb") if "-dbgsym_" not in path]
    return found[0] if found else None


def repacked(package, version, folder):
    """The package under another number: what an upgrade goes from where no earlier commit is at hand."""
    inside = os.path.join(folder, "repacked")
    run("dpkg-deb", "-R", package, inside)
    control = inside + "/DEBIAN/control"
    with open(control) as file:
        text = re.sub(r"(?m)^Version: .*$", "Version: " + version, file.read())
    with open(control, "w") as file:
        file.write(text)
    target = os.path.join(folder, "old.deb")
    run("dpkg-deb", "--root-owner-group", "-b", inside, target)
    shutil.rmtree(inside)
    return target


def plain_folder(cache, name="debian-12", more=""):
    """A Debian 12, and more packages of it, as a tar file that is kept."""
    path = os.path.join(cache, name + ".tar")
    if not os.path.exists(path):
        print("== making a plain Debian 12 folder", flush=True)
        os.makedirs(cache, exist_ok=True)
        run("mmdebstrap", "--variant=minbase", "--components=main", *(["--include=" + more] if more else []), "bookworm", path + ".new.tar")
        os.rename(path + ".new.tar", path)
    return path


def prepare(packages, cache, folder):
    """With the network: the folder, and in its cache what the packages and redis-server depend on."""
    root = os.path.join(folder, "root")
    os.mkdir(root)
    run("tar", "-xf", plain_folder(cache), "-C", root)
    shutil.copy("/etc/resolv.conf", root + "/etc/resolv.conf")
    os.makedirs(root + "/run/systemd/system")
    with open(root + "/usr/bin/systemctl", "w") as file:
        file.write(SYSTEMCTL)
    os.chmod(root + "/usr/bin/systemctl", 0o755)
    for package in packages:
        shutil.copy(package, root + "/root/")
    # minbase's folder documents nothing: the manual is looked for.
    for path in glob.glob(root + "/etc/dpkg/dpkg.cfg.d/*"):
        os.unlink(path)
    World(root).shell("cd /root; apt-get update -q; apt-get install -q -y --download-only ./sett_*.deb redis-server redis-tools")
    return root


def manual_and_completion(world):
    for page in ("man1/sett-server.1.gz", "man1/sett-tool.1.gz", "man5/sett.conf.5.gz"):
        if not os.path.exists(world.path("/usr/share/man/" + page)):
            fail("no manual page " + page)
    for name in ("sett-server", "sett-tool"):
        world.shell("bash -n /usr/share/bash-completion/completions/" + name)


def modes(world):
    expect("modes", world.shell("stat -c '%U:%G %a %n' /etc/sett /etc/sett/sett.conf /var/lib/sett").split("\n")[:3],
           ["sett:sett 2770 /etc/sett", "sett:sett 640 /etc/sett/sett.conf", "sett:sett 750 /var/lib/sett"])


def golden_types():
    """What redis-tests keep directories of earlier versions for, and a connection to the service."""
    sys.path.insert(0, os.path.join(SOURCE, "redis-tests"))
    import golden_types as module
    import redis
    return module, redis.Redis(socket_timeout=WAIT_S, decode_responses=True)


def types_written(world):
    """By the older version: what it wrote before a restart lies in tables, the rest in the log."""
    types, client = golden_types()
    types.write_half(client, 0)
    world.stop("sett")
    world.start("sett")
    types.write_half(client, 1)
    types.check_all(client)


def types_there(world, more):
    """In the newer one, which changes them, too."""
    types, client = golden_types()
    types.check_all(client, more)
    types.change(client)
    world.stop("sett")
    world.start("sett")
    types.check_changed(client)
    # Redis 7.0, and so `redis-cli --rdb`, knows no deadlines of fields: a full sync is refused to it.
    for key, fields in (("small", (0, 4)), ("many", (0, 600))):
        client.execute_command("HPERSIST", "hash:" + key, "FIELDS", 2, *["field:%d" % i for i in fields])


def installed_and_upgraded(world, folder, older, ours):
    old = older or repacked(ours, "0.1.0~old", folder)
    print("   from %s to %s" % tuple(run("dpkg-deb", "-f", path, "Version").strip() for path in (old, ours)), flush=True)
    shutil.copy(old, world.path("/root/old.deb"))
    world.shell("cd /root; apt-get install -q -y ./old.deb redis-tools")
    expect("asked of systemd by the first install", world.asked("sett.service", "sett.socket"), ["start sett.service"])
    expect("the time for a start", Unit(world.root, "sett").one("TimeoutStartSec"), "infinity")
    manual_and_completion(world)
    modes(world)
    world.start("sett")
    types_written(world)
    expect("SET", world.redis("SET", "kept", "value"), "OK")
    world.redis("EVAL", "for i = 1, 2000 do redis.call('SET', 'k' .. i, string.rep('v', i)) end", "0")
    expect("CONFIG REWRITE", world.redis("CONFIG", "SET", "slowlog-max-len", "77"), "OK")
    expect("CONFIG REWRITE", world.redis("CONFIG", "REWRITE"), "OK")
    keys = world.redis("DBSIZE")
    modes(world)
    # As the package does it where there is systemd: files are exchanged first, then the service is restarted.
    world.shell("cd /root; apt-get install -q -y -o Dpkg::Options::=--force-confold ./sett_*.deb")
    # The socket is let be: it holds connections meanwhile.
    expect("asked of systemd by an upgrade", world.asked("sett.service", "sett.socket"), ["restart sett.service"])
    expect("while files are exchanged", world.redis("GET", "kept"), "value")
    world.stop("sett")
    world.start("sett")
    expect("after an upgrade", world.redis("GET", "kept"), "value")
    expect("after an upgrade", world.redis("DBSIZE"), keys)
    types_there(world, 2001)
    expect("the configuration", world.redis("CONFIG", "GET", "slowlog-max-len").split()[-1], "77")
    modes(world)
    expect("a backup", follow(world, "docs/operating.md", "Backup").startswith("restored: "), True)
    expect("after a restore", follow(world, "docs/operating.md", "Restore"), keys)
    expect("what was written after the backup", world.redis("GET", "late"), "")
    expect("after a restore", world.redis("GET", "kept"), "value")
    modes(world)
    world.shell("rm -r /var/lib/sett.before")
    world.stop("sett")
    expect("sett-tool check", "\nclean: " in "\n" + world.shell("sett-tool check /var/lib/sett"), True)


def data_of_0_1(world):
    """redis-tests/golden.sh knows what is in it."""
    for name in ("redis-tests/golden.sh", "tests/golden/sett-0.1.tar.gz"):
        shutil.copy(os.path.join(SOURCE, name), world.path("/root/"))
    world.shell("cd /root; sh golden.sh /usr/bin/sett-server /usr/bin/sett-tool sett-0.1.tar.gz")
    # And as the service, in its own directory.
    world.shell("rm -rf /var/lib/sett/*; tar -xzf /root/sett-0.1.tar.gz -C /var/lib/sett; chown -R sett:sett /var/lib/sett")
    world.start("sett")
    expect("data of 0.1", world.redis("GET", "greeting"), "hello from the den")
    expect("data of 0.1", world.redis("DBSIZE"), "309")
    world.stop("sett")


def removed_and_purged(world):
    world.asked()
    world.shell("apt-get remove -q -y sett")
    # Both at once: the socket alone would start the service again.
    expect("asked of systemd first by a removal", world.asked("sett.service", "sett.socket")[0], "stop sett.socket sett.service")
    expect("after remove", world.shell("test ! -e /usr/bin/sett-server; ls /var/lib/sett | wc -l").strip() != "0", True)
    world.shell("cd /root; apt-get install -q -y ./sett_*.deb")
    world.start("sett")
    expect("installed again", world.redis("DBSIZE"), "309")
    world.stop("sett")
    run("mount", "-t", "tmpfs", "data", world.path("/var/lib/sett"))
    world.shell("touch /var/lib/sett/file; apt-get purge -q -y sett")
    expect("a mount point that was purged", os.listdir(world.path("/var/lib/sett")), [])
    run("umount", world.path("/var/lib/sett"))
    expect("what the mount hid", world.shell("ls /var/lib/sett | wc -l").strip() != "0", True)
    world.shell("cd /root; apt-get install -q -y ./sett_*.deb; apt-get purge -q -y sett")
    left = world.shell("find / -xdev -name '*sett*' -not -path '/proc/*' -not -path '/root/*' -not -path '/run/*' "
                       "-not -path '/var/cache/*' -not -path '/var/lib/systemd/*' | grep -v -i setting || true").split()
    left = [path for path in left if re.search(r"(^|[/._-])(lib)?sett([/._-]|$)", path)]
    expect("after purge", left, [])


def moved_and_moved_back(world):
    """From Redis and back, by the book."""
    world.shell("apt-get install -q -y redis-server")
    world.start("redis-server")
    for i in range(3):
        world.redis("-n", str(i), "EVAL", "for i = 1, 500 do redis.call('RPUSH', 'list' .. i, i, 'x') end", "0")
    world.redis("SET", "soon", "gone", "EX", "100000")
    # A redis.conf that saves nothing.
    world.redis("CONFIG", "SET", "save", "")
    world.asked()
    expect("moved to Sett", keys_of(follow(world, "docs/moving.md", "Moving from Redis")), [502, 500, 500])
    expect("what the masked service was asked", world.asked("sett.service"), [])
    expect("written until the stop", world.redis("GET", "late"), "Moving from Redis")
    expect("moved to Sett", world.redis("-n", "2", "LRANGE", "list7", "0", "-1").split(), ["7", "x"])
    expect("a deadline", 99000 < int(world.redis("TTL", "soon")) <= 100000, True)
    expect("who answers", "sett_version" in world.redis("INFO", "server") or "sett" in world.redis("INFO").lower(), True)
    world.redis("SET", "written", "here")
    expect("moved back", keys_of(follow(world, "docs/moving.md", "Moving back")), [503, 500, 500])
    expect("written until the stop", world.redis("GET", "late"), "Moving back")
    expect("moved back", world.redis("GET", "written"), "here")
    expect("moved back", world.redis("-n", "1", "LRANGE", "list9", "0", "-1").split(), ["9", "x"])
    world.stop("redis-server")


def library(package, folder):
    """libsett-dev: each header alone, and a program that is built by pkg-config."""
    root = os.path.join(folder, "library")
    run("dpkg-deb", "-x", package, root)
    found = glob.glob(root + "/usr/lib/*/pkgconfig/sett.pc")
    expect("sett.pc", len(found), 1)
    environment = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=root, PKG_CONFIG_LIBDIR=os.path.dirname(found[0]),
                       PKG_CONFIG_PATH="/usr/lib/x86_64-linux-gnu/pkgconfig")
    flags = run("pkg-config", "--cflags", "sett", env=environment).split()
    libraries = run("pkg-config", "--libs", "sett", env=environment).split()
    libraries = [word for word in libraries if word != "-L" + root + "/usr/lib/x86_64-linux-gnu" or os.path.isdir(word[2:])]
    headers = glob.glob(root + "/usr/include/sett/storage/**/*.h", recursive=True)
    if len(headers) < 8:
        fail("%d headers" % len(headers))
    for header in headers:
        for compiler in ("gcc",):
            run(compiler, "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Werror", "-fsyntax-only", *flags, "-x", "c", header)
    program = os.path.join(folder, "embed")
    run("gcc", "-std=gnu17", "-D_GNU_SOURCE", *flags, os.path.join(SOURCE, "tests/storage/embed.c"), "-o", program, *libraries)
    first, second = run(program, folder + "/embedded"), run(program, folder + "/embedded")
    if first == second or not first:
        fail("embed printed %r, then %r" % (first, second))


def replication_of_two_versions(folder, older, ours):
    """Both servers run here, not in the folder; a replica and its master are of different versions."""
    servers = []
    for name, package in (("newer", ours), ("older", older)):
        run("dpkg-deb", "-x", package, os.path.join(folder, name))
        servers.append(os.path.join(folder, name, "usr/bin/sett-server"))
    run(sys.executable, os.path.join(SOURCE, "redis-tests/two_versions.py"), *servers)


def hardening(world):
    """Not worse than Debian's redis-server."""
    scores = {}
    for name in ("sett", "redis-server"):
        said = run("systemd-analyze", "security", "--offline=yes", world.path("/lib/systemd/system/%s.service" % name))
        scores[name] = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)[1])
        print("   systemd-analyze security, %s.service: %.1f" % (name, scores[name]), flush=True)
    if scores["sett"] > scores["redis-server"]:
        fail("the unit is hardened less than redis-server's")


def tests(root, folder, older, packages):
    main = next(p for p in packages if os.path.basename(p).startswith("sett_"))
    development = next(p for p in packages if os.path.basename(p).startswith("libsett-dev_"))
    run("ip", "link", "set", "lo", "up")
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", root + "/proc")
    world = World(root)

    try:
        for name, part in (("libsett-dev", lambda: library(development, folder)),
                           ("install, upgrade", lambda: installed_and_upgraded(world, folder, older, main)),
                           ("data of 0.1", lambda: data_of_0_1(world)),
                           *([("replication with the older version", lambda: replication_of_two_versions(folder, older, main))] if older else []),
                           ("remove, purge", lambda: removed_and_purged(world)),
                           ("docs/moving.md", lambda: moved_and_moved_back(world)),
                           ("hardening", lambda: hardening(world))):
            print("== " + name, flush=True)
            part()
    finally:
        world.end()
        run("umount", root + "/proc")
    print("the packages are well")


def main():
    if os.geteuid() != 0:
        fail("this test makes name spaces: run it as root")
    if sys.argv[1] == "--inside":
        return tests(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    packages = sorted(path for path in glob.glob(os.path.abspath(sys.argv[1]) + "/*.deb") if "-dbgsym_" not in path)
    if len(packages) != 2:
        fail("%s has these packages: %s" % (sys.argv[1], packages))
    older = package_in(os.path.abspath(sys.argv[3])) if len(sys.argv) > 3 else None
    folder = tempfile.mkdtemp(prefix="sett-package.")
    os.chmod(folder, 0o755)
    try:
        root = prepare(packages, os.path.abspath(sys.argv[2]), folder)
        done = subprocess.run(["unshare", "--mount", "--net", sys.executable, os.path.abspath(__file__), "--inside", root, folder,
                               older or "", *packages])
    finally:
        shutil.rmtree(folder)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
