"""A Debian 12 with a systemd of its own, in a container that runs commands. It is told to power_on(), and then takes commands: ask() gives
status and output, shell() the output of what must succeed."""
import glob
import os
import shutil
import signal
import subprocess
import time

BOOT_S = 1200  # on a busy machine
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive"}


class Failure(Exception):
    pass


def run(*command, timeout_s=1800):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s)
    if done.returncode != 0:
        raise Failure("%s: exit %d\n%s" % (" ".join(command), done.returncode, done.stdout[-3000:]))
    return done.stdout


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def boot_folder(cache, packages, name="boot-12", hooks=()):
    """A Debian 12 that boots, with `packages`, as a tar file that is kept until other packages are asked for. `hooks`: commands that are given
    the folder."""
    packages = ["systemd-sysv", "procps", *packages]
    path = os.path.join(cache, name + ".tar")
    known = path + ".packages"
    if os.path.exists(path) and os.path.exists(known) and open(known).read() == " ".join(packages):
        return path
    print("== making a Debian 12 that boots", flush=True)
    os.makedirs(cache, exist_ok=True)
    run("mmdebstrap", "--variant=minbase", "--components=main", "--include=" + ",".join(packages),
        *["--customize-hook=" + hook for hook in hooks], "bookworm", path + ".new.tar")
    os.rename(path + ".new.tar", path)
    write(known, " ".join(packages))
    return path


def unpack(archive, root, files):
    """`files`: what else lies in /root. Nothing disturbs: nobody logs in, nothing tends the disk."""
    os.mkdir(root)
    run("tar", "-xf", archive, "-C", root)
    for path in files:
        shutil.copy(path, root + "/root/")
    write(root + "/etc/machine-id", "5e770000000000000000000000000001\n")
    write(root + "/etc/hostname", "sett\n")
    write(root + "/etc/hosts", "127.0.0.1 localhost sett\n::1 localhost\n")
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
                 "dpkg-db-backup.timer", "getty.target", "getty-static.service", "systemd-timesyncd.service"):
        os.symlink("/dev/null", root + "/etc/systemd/system/" + unit)
    # minbase's folder documents nothing.
    for path in glob.glob(root + "/etc/dpkg/dpkg.cfg.d/*"):
        os.unlink(path)


class Container:
    """Its own processes, mounts, network and name; the kernel is the one that runs here."""

    def __init__(self, folder, archive, files):
        self.folder, self.process, self.root = folder, None, folder + "/root"
        unpack(archive, self.root, files)

    def first(self):
        """The process that is the first in there; None while there is none."""
        try:
            with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as file:
                children = file.read().split()
        except FileNotFoundError:
            return None
        return children[0] if children else None

    def power_on(self):
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--directory", self.root, "--boot", "--register=no", "--keep-unit", "--private-network",
             "--hostname=sett", "--console=pipe", "--link-journal=no", "--resolv-conf=off", "--timezone=off"],
            stdin=subprocess.DEVNULL, stdout=open(self.folder + "/console", "w"), stderr=subprocess.STDOUT)
        end = time.monotonic() + BOOT_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failure("the container is gone: " + open(self.folder + "/console").read()[-2000:])
            if self.first() is not None and self.ask('[ "$(uname -n)" = sett ] && [ -S /run/systemd/private ]')[0] == 0:
                return
            time.sleep(0.1)
        raise Failure("the container does not come up")

    def ask(self, command, seconds=900):
        """Its status, and what it printed."""
        first = self.first()
        if first is None:
            raise Failure("the container is gone: " + open(self.folder + "/console").read()[-2000:])
        try:
            done = subprocess.run(["nsenter", "--target", first, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
                                   "bash", "-c", "cd /root\n" + command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, env=ENVIRONMENT, timeout=seconds)
        except subprocess.TimeoutExpired as late:
            raise Failure("%s: it did not end in %d s" % (command, seconds)) from late
        return done.returncode, done.stdout.decode(errors="replace").strip()

    def shell(self, command, seconds=900):
        status, text = self.ask(command, seconds)
        if status != 0:
            raise Failure("%s: exit %d\n%s" % (command, status, text[-3000:]))
        return text

    def reboot(self):
        """Down in good order, and up."""
        self.ask("systemctl poweroff")
        self.process.wait(BOOT_S)
        self.power_on()

    def off(self):
        if self.process is not None:
            if self.process.poll() is None and self.first() is not None:
                os.kill(int(self.first()), signal.SIGKILL)
            self.process.wait(60)
            self.process = None
