#!/usr/bin/python3
"""Configurations that people have start the server, as they start redis-server: redis-tests/configs/, Debian's redis.conf, and what images
and charts give as arguments. They are unmodified but for the folder in `dir`, which this machine need not have. Every directive shows the value
that redis-server shows. The log names those of WITHOUT_EFFECT, and no others; that the rest works is for the tests of each. A module's line
refuses the start.

    configs.py SERVER REDIS-SERVER"""
import glob
import os
import re
import subprocess
import sys
import tempfile
import redis
from own_server import fail, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
DEBIAN = "/etc/redis/redis.conf"
# Where the file's own value can't be had in a test.
HERE_ALONE = ("dir", "port", "logfile", "pidfile", "unixsocket", "daemonize", "supervised")
# What is no directive.
OTHERS = ("rename-command", "user", "include")
# Arguments that follow the file, or stand alone, by the name of the file. Sources: the image's page; the start scripts of Bitnami's chart.
ARGUMENTS = {
    "image.conf": [[], ["--save", "60", "1", "--loglevel", "warning"], ["--appendonly", "yes"],
                   ["--requirepass", "a-password", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"],
                   ["--save", "", "--appendonly", "no"]],
    "bitnami-master.conf": [["--requirepass", "a-password", "--masterauth", "a-password"]],
    "redis-stack.conf": [[], ["--save", "900", "1", "--maxmemory", "1gb"]],
}
# Directives that the log names as without effect, with the values, of those that the files and arguments have.
WITHOUT_EFFECT = {"appendonly": ("yes",)}


class Run:
    """One server with the file and its arguments, in a folder of its own."""

    def __init__(self, program, path, arguments):
        self.folder = tempfile.TemporaryDirectory(prefix="sett-configs.")
        self.log = self.folder.name + "/log"
        self.socket = self.folder.name + "/socket"
        own = ["--port", "0", "--unixsocket", self.socket, "--dir", self.folder.name, "--logfile", self.log, "--pidfile",
               self.folder.name + "/pid", "--daemonize", "no", "--supervised", "no"]
        with open(path) as file:
            text = re.sub(r"(?m)^dir .*$", "dir " + self.folder.name, file.read())
        with open(self.folder.name + "/conf", "w") as file:
            file.write(text)
        self.process = subprocess.Popen([program, self.folder.name + "/conf", *arguments, *own], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        wait_until("%s %s %s does not come up" % (program, path, arguments), self.is_ready)

    def said(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log) as file:
            return file.read()

    def is_ready(self):
        if self.process.poll() is not None:
            fail("%s ended: %s%s" % (self.process.args, self.process.stdout.read(), self.said()))
        try:
            return redis.Redis(unix_socket_path=self.socket, socket_timeout=180).ping()
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False

    def values(self, names, password):
        client = redis.Redis(unix_socket_path=self.socket, password=password, socket_timeout=180)
        return {name: client.config_get(name) for name in names}

    def end(self):
        self.process.terminate()
        self.process.wait(180)
        self.folder.cleanup()


def directives_of(path, arguments):
    with open(path) as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    names = [words[0].lower() for words in lines] + [word[2:] for word in arguments if word.startswith("--")]
    password = [words[1] for words in lines if words[0] == "requirepass"]
    password += [arguments[i + 1] for i, word in enumerate(arguments) if word == "--requirepass"]
    return names, password[-1] if password else None


def compare(server, reference, path, arguments):
    names, password = directives_of(path, arguments)
    named = sorted(set(names) - set(OTHERS) - set(HERE_ALONE))
    values, said = {}, {}
    for program in (server, reference):
        run = Run(program, path, arguments)
        values[program], said[program] = run.values(named, password), run.said()
        run.end()
    for name in named:
        if values[server][name] != values[reference][name] or not values[server][name]:
            fail("%s: %s is %s, redis-server has %s" % (path, name, values[server][name], values[reference][name]))
    without_effect = re.findall(r"Directive '([^']*)': accepted, has no effect: ", said[server])
    expected = [name for name in named if values[server][name][name] in WITHOUT_EFFECT.get(name, ())]
    if sorted(without_effect) != expected:
        fail("%s %s: named as without effect: %s, expected %s" % (path, arguments, without_effect, expected))
    print("%s %s: %d directives, without effect: %s" % (os.path.basename(path), " ".join(arguments), len(named),
                                                       ", ".join(without_effect) or "none"))


def renamed_commands_are_gone(server):
    run = Run(server, HERE + "/configs/bitnami-master.conf", [])
    client = redis.Redis(unix_socket_path=run.socket, socket_timeout=180)
    client.set("kept", "yes")
    for command in ("FLUSHALL", "FLUSHDB"):
        try:
            client.execute_command(command)
            fail(command + " is there although the file takes it away")
        except redis.ResponseError as error:
            if "unknown command" not in str(error):
                fail("%s: %s" % (command, error))
    if client.get("kept") != b"yes":
        fail("the key is gone")
    run.end()


def named_user_may_log_in(server):
    run = Run(server, HERE + "/configs/django.conf", [])
    client = redis.Redis(unix_socket_path=run.socket, username="username", password="password", socket_timeout=180)
    if client.execute_command("ACL", "WHOAMI") != b"username":
        fail("the user of django.conf")
    run.end()


def modules_are_refused(server):
    """One line that says which, and nothing is started."""
    for arguments in (["--loadmodule", "/opt/redis-stack/lib/redisearch.so"], ["--loadmodule", "x.so", "MAXSEARCHRESULTS", "10000"]):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([server, "--port", "0", "--dir", folder, *arguments], capture_output=True, text=True, timeout=180)
            if done.returncode != 1 or os.listdir(folder):
                fail("%s: exit %d, files %s" % (arguments, done.returncode, os.listdir(folder)))
            if "modules are not supported" not in done.stderr or arguments[1] not in done.stderr:
                fail("%s: %s" % (arguments, done.stderr))


def main():
    server, reference = sys.argv[1:]
    for path in sorted(glob.glob(HERE + "/configs/*.conf")):
        for arguments in ARGUMENTS.get(os.path.basename(path), [[]]):
            compare(server, reference, path, arguments)
    if os.access(DEBIAN, os.R_OK):
        compare(server, reference, DEBIAN, [])
    else:
        print("SKIPPED: %s can't be read: it is redis' own, or root's" % DEBIAN)
    renamed_commands_are_gone(server)
    named_user_may_log_in(server)
    modules_are_refused(server)


main()
