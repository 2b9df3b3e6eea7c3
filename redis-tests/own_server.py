"""A server of a test's own, on a socket in a folder of its own."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import redis
from ports import free_port  # noqa: F401 (for the tests that take all else from here)


def fail(text):
    print("FAILED: " + text)
    sys.exit(1)


def expect(what, found, *wanted):
    """That it is what is wanted; without that, that there is something."""
    if wanted and found != wanted[0]:
        fail("%s: %.200r instead of %.200r" % (what, found, wanted[0]))
    if not wanted and not found:
        fail(what)


# Nobody waits as long as this but for what hangs: a machine may be slow, and busy with something else.
PATIENCE = 180


def wait_until(what, condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            fail(what)
        time.sleep(0.01)


class Server:
    def __init__(self, program, *options):
        self.directory = tempfile.mkdtemp(prefix="sett-test.")
        self.data = self.directory
        self.socket = self.directory + "/socket"
        self.environment = None  # ours
        self.program = program
        self.options = [str(option) for option in options]
        self.process = None
        self.prefix = []  # of the command: a tool that runs it

    def start(self, *more):
        """With its options, and more for this time."""
        port = [] if "--port" in self.options else ["--port", "0"]
        command = [*self.prefix, self.program, *port, "--unixsocket", self.socket, "--dir", self.data]
        self.process = subprocess.Popen(command + self.options + list(more), stdout=subprocess.DEVNULL, env=self.environment)
        client = self.connect()
        wait_until("the server does not come up", lambda: self.answers(client))

    def answers(self, client):
        try:
            return client.ping()
        except redis.RedisError:
            return False

    def stop(self):
        """In good order, without a save."""
        self.process.terminate()
        self.process.wait(PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def pause(self):
        """It runs no more. The signal takes effect when one thread has had its turn, which may be later than another's."""
        self.process.send_signal(signal.SIGSTOP)
        wait_until("it does not stop", self.is_paused)

    def is_paused(self):
        tasks = "/proc/%d/task" % self.process.pid
        for task in os.listdir(tasks):
            try:
                with open("%s/%s/stat" % (tasks, task)) as f:
                    if f.read().rpartition(")")[2].split()[0] != "T":
                        return False
            except (FileNotFoundError, ProcessLookupError):
                pass  # a thread that has ended
        return True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def connect(self, timeout=PATIENCE, db=0):
        return redis.Redis(unix_socket_path=self.socket, socket_timeout=timeout, db=db)

    def clean_up(self):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
