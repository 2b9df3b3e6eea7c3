#!/usr/bin/python3
"""Power cuts: the package on a Debian 12 with a kernel, a file system and a disk of its own (qemu, which needs no KVM). Clients write under
`appendfsync always`; the machine is cut off, and its disk loses of what it was told since its last flush what chance says. What was
acknowledged is there after the next boot, in its order and without a hole, and sett-tool finds the database clean.

    power_test.py PACKAGES CACHE [POLICY]      (folders: of the .deb files; of the Debian folder that is kept, as a tar file)

With another POLICY of appendfsync it shows what it would find: `no` must fail. Root only."""
import glob
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from container import Failure, boot_folder, run, unpack, write
from package_test import package_in

CUTS = 3
DISK_MB = 2048
BOOT_S = 600  # emulated, on a busy machine
LOAD_S = 10
SECTOR, BLOCK = 512, 4096
KERNEL_OPTIONS = "root=/dev/vda rw console=ttyS0 init=/first mitigations=off nowatchdog panic=-1"
PACKAGES = ["linux-image-cloud-amd64", "initramfs-tools", "redis-tools", "adduser", "libjemalloc2", "liblua5.1-0", "liblz4-1", "libssl3",
            "liburcu8", "libxxhash0", "libzstd1"]
# The kernel's first file system has what this machine needs, and not more.
HOOKS = ["printf 'MODULES=list\\n' >\"$1/etc/initramfs-tools/conf.d/few\"",
         "printf '%s\\n' virtio_pci virtio_blk ext4 >>\"$1/etc/initramfs-tools/modules\"", "chroot \"$1\" update-initramfs -u"]
# The machine's only process beside Sett: it takes commands, one a line, from the second serial line.
FIRST = """#!/bin/bash
mount -t proc proc /proc
mount -t tmpfs run /run
stty -F /dev/ttyS1 raw -echo clocal
exec <>/dev/ttyS1 >&0 2>&1
cli() { redis-cli -s /run/sett.sock "$@"; }
serve() {
	sett-server --dir /var/lib/sett --port 0 --unixsocket /run/sett.sock --maxmemory 128mb --appendfsync "$1" >/dev/ttyS0 2>&1 &
	until [ "$(cli PING 2>/dev/null)" = PONG ]; do sleep 0.2; kill -0 $! || return; done
}
echo @@ready
while read -r line; do
	eval "$line"
	echo "@@end $?"
done
"""
# One connection whose every reply is seen here, and others beside it that keep the log, the tables and the value log busy.
LOAD = ("redis-benchmark -s /run/sett.sock -q -t set -n 100000000 -r 3000 -d 3000 -c 2 >/dev/null 2>&1 & "
        "seq %d 100000000 | sed 's/^/RPUSH numbers /' | stdbuf -oL redis-cli -s /run/sett.sock | sed -u 's/^/acknowledged /'")
ENTRY = struct.Struct("<QQQQ")
FLUSH = 1


def apply_log(log_path, disk_path, chance):
    """qemu's log of writes, in the format of Linux' dm-log-writes. All up to the last flush is on the disk; of what came later, each block
    with this chance. How many blocks were lost."""
    lost, later = 0, []
    with open(log_path, "rb") as log, open(disk_path, "r+b") as disk:
        def put(writes, kept):
            dropped = 0
            for at, size, position in writes:
                log.seek(position)
                data = log.read(size)
                for start in range(0, size, BLOCK):
                    if kept >= 1 or random.random() < kept:
                        disk.seek(at + start)
                        disk.write(data[start:start + BLOCK])
                    else:
                        dropped += 1
            return dropped

        position, flushes = SECTOR, 0
        while True:
            log.seek(position)
            sector, count, flags, _ = ENTRY.unpack(log.read(ENTRY.size).ljust(ENTRY.size, b"\0"))
            if count == 0 and flags == 0:
                break
            if flags & ~FLUSH:
                raise Failure("an entry of the disk's log that is not known: flags %d" % flags)
            position += SECTOR
            if flags & FLUSH:
                put(later, 1)
                later, flushes = [], flushes + 1
            if count:
                later.append((sector * SECTOR, count * SECTOR, position))
                position += count * SECTOR
        lost = put(later, chance)
    return flushes, lost


class Machine:
    """The disk is an ext4 file system without a partition table. The first serial line is the console, commands come over the second."""

    def __init__(self, folder, archive, package):
        self.folder, self.process, self.line, self.received = folder, None, None, b""
        root = folder + "/root"
        unpack(archive, root, [package])
        write(root + "/first", FIRST, 0o755)
        run("chroot", root, "sh", "-ec", "cd /root; dpkg --force-depends -i sett_*.deb")
        shutil.copy(glob.glob(root + "/boot/vmlinuz-*")[0], folder + "/vmlinuz")
        shutil.copy(glob.glob(root + "/boot/initrd.img-*")[0], folder + "/initrd")
        run("mke2fs", "-q", "-t", "ext4", "-d", root, folder + "/disk", "%dM" % DISK_MB)
        shutil.rmtree(root)

    def power_on(self):
        """Until it takes commands. It has a copy of the disk: what the disk holds after a cut is told by the log of writes alone."""
        path = self.folder + "/line"
        run("cp", "--sparse=always", self.folder + "/disk", self.folder + "/copy")
        with open(self.folder + "/log", "wb") as log:
            log.truncate(1 << 36)  # sparse; qemu does not make it longer
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(60)
        nodes = ["driver=file,node-name=copy,filename=%s/copy", "driver=file,node-name=log,filename=%s/log",
                 "driver=blklogwrites,node-name=disk,file=copy,log=log"]
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "q35", "-accel", "kvm", "-accel", "tcg", "-smp", "2", "-m", "768", "-nodefaults",
             "-no-user-config", "-display", "none", "-kernel", self.folder + "/vmlinuz", "-initrd", self.folder + "/initrd",
             "-append", KERNEL_OPTIONS, *[word for node in nodes for word in ("-blockdev", node.replace("%s", self.folder))],
             "-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci", "-serial", "file:" + self.folder + "/console",
             "-serial", "unix:" + path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.folder + "/emulator", "w"))
        try:
            self.line, _ = listener.accept()
        except TimeoutError:
            raise Failure("the emulator does not start: " + open(self.folder + "/emulator").read()) from None
        finally:
            listener.close()
            os.unlink(path)
        self.received = b""
        self.until(rb"@@ready\r?\n", BOOT_S)

    def until(self, pattern, seconds):
        """What comes before the pattern, and the match."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.received)
            if found:
                before, self.received = self.received[:found.start()], self.received[found.end():]
                return before.decode(errors="replace"), found
            self.line.settimeout(max(end - time.monotonic(), 0.01))
            try:
                more = self.line.recv(65536)
            except TimeoutError:
                more = b""
            if not more:
                with open(self.folder + "/console", errors="replace") as console:
                    raise Failure("nothing more comes; so far: %s\nThe console ends in\n%s" % (self.received[-500:], console.read()[-2500:]))
            self.received += more

    def send(self, command):
        self.line.sendall(command.encode() + b"\n")

    def shell(self, command, seconds=300):
        self.send(command)
        text, found = self.until(rb"@@end (\d+)\r?\n", seconds)
        if found[1] != b"0":
            raise Failure("%s: exit %s\n%s" % (command, found[1].decode(), text))
        return text.strip()

    def off(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.line is not None:
            self.line.close()
            self.line = None


def there(machine, acknowledged):
    """How many are there: at least those that were acknowledged, and one after the other."""
    kept = int(machine.shell("cli --raw LLEN numbers"))
    if kept < acknowledged:
        raise Failure("%d writes were acknowledged, %d are there" % (acknowledged, kept))
    wrong = machine.shell("cli --raw LRANGE numbers 0 -1 | awk 'NF && $1 != NR' | head -3")
    if wrong:
        raise Failure("of %d writes some are not in their place: %s" % (kept, wrong))
    return kept


def cut_off(machine, kept):
    """Writes until the power is cut; how many were acknowledged."""
    machine.send(LOAD % (kept + 1))
    acknowledged, end = kept, time.monotonic() + LOAD_S * (0.5 + random.random())
    while acknowledged < kept + 50 or time.monotonic() < end:
        _, found = machine.until(rb"acknowledged (\d+)\r?\n", 120)
        if int(found[1]) != acknowledged + 1:
            raise Failure("%s was answered to the push after %d" % (found[1], acknowledged))
        acknowledged += 1
    machine.off()
    chance = random.random()
    flushes, lost = apply_log(machine.folder + "/log", machine.folder + "/disk", chance)
    return acknowledged, "%d acknowledged, %d flushes of the disk, %d blocks lost behind the last" % (acknowledged - kept, flushes, lost)


def tests(machine, policy):
    acknowledged = 0
    for cut in range(CUTS + 1):
        begun = time.monotonic()
        machine.power_on()
        machine.shell("serve " + policy, BOOT_S)
        kept = there(machine, acknowledged)
        if cut < CUTS:
            acknowledged, said = cut_off(machine, kept)
            print("   cut %d: %s; %.0f s" % (cut + 1, said, time.monotonic() - begun), flush=True)
    machine.shell("cli SHUTDOWN; wait", BOOT_S)
    text = machine.shell("sett-tool check /var/lib/sett", BOOT_S)
    if "clean: " not in text:
        raise Failure("sett-tool check: " + text)
    print("   %d were acknowledged, %d are there; clean" % (acknowledged, kept))


def main():
    if os.geteuid() != 0:
        sys.exit("power_test.py: run it as root")
    package = package_in(os.path.abspath(sys.argv[1]))
    if package is None:
        sys.exit("power_test.py: no package in " + sys.argv[1])
    policy = sys.argv[3] if len(sys.argv) > 3 else "always"
    seed = random.randrange(1 << 32)
    random.seed(seed)
    print("== power cuts, appendfsync %s, seed %d" % (policy, seed), flush=True)
    folder, machine = tempfile.mkdtemp(prefix="sett-power."), None
    try:
        machine = Machine(folder, boot_folder(os.path.abspath(sys.argv[2]), PACKAGES, "machine-12", HOOKS), package)
        tests(machine, policy)
    except Failure as failure:
        sys.exit("FAILED: %s" % failure)
    finally:
        if machine is not None:
            machine.off()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
