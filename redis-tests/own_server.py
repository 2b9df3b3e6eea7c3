"""A server of a test's own, on a socket in a folder of its own."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import redis


def fail(text):
    print("FAILED: " + text)
    sys.exit(1)


def expect(what, found, *wanted):
    """That it is what is wanted; without that, that there is something."""
    if wanted and found != wanted[0]:
        fail("%s: %.200r instead of %.200r" % (what, found, wanted[0]))
    if not wanted and not found:
        fail(what)


# redis-server in cluster mode has a second port, 10,000 above.
HIGHEST_CLUSTER_PORT = 55535


def free_port(highest=65535):
    """For another program that it starts: nobody has it now."""
    for _ in range(100):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port <= highest:
            return port
    fail("there is no free port up to %d" % highest)


def wait_until(what, condition, seconds=60):
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
        self.process.wait(60)

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

    def connect(self, timeout=30, db=0):
        return redis.Redis(unix_socket_path=self.socket, socket_timeout=timeout, db=db)

    def clean_up(self):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
