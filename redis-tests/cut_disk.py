"""A server whose power can be cut: it is killed, and its files go back to what was synced (synced_files.c)."""
import os
import shutil

from own_server import fail
from replica_world import Logged

MANIFEST_MARK = 16


class OnCutDisk(Logged):
    def __init__(self, shim, program, *options):
        super().__init__(program, *options)
        self.data = self.directory + "/data"
        self.copy = self.directory + "/copy"
        os.mkdir(self.data)
        self.environment = dict(os.environ, LD_PRELOAD=shim, SYNCED_ROOT=self.data, SYNCED_COPY=self.copy)

    def start(self):
        """Whatever was written before is on the disk now."""
        shutil.rmtree(self.copy, ignore_errors=True)
        os.makedirs(self.copy + "/files")
        shutil.copytree(self.data, self.copy + "/names")
        super().start()

    def cut_power(self):
        self.kill()
        shutil.rmtree(self.data)
        os.rename(self.copy + "/names", self.data)

    def expect_synced(self):
        """After a stop in good order: else a call that writes goes by the shim, and the cuts prove nothing."""
        for name in os.listdir(self.data):
            if not name.endswith((".log", ".vlog")) and name != "MANIFEST":
                continue
            with open(self.data + "/" + name, "rb") as ours, open(self.copy + "/names/" + name, "rb") as synced:
                found, wanted = synced.read(), ours.read()
            # The mark behind the last edit waits for the next one's sync.
            if found != wanted and (name != "MANIFEST" or found != wanted[:-MANIFEST_MARK]):
                fail("%s is not what was synced" % name)
