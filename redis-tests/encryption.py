#!/usr/bin/python3
"""Encryption at rest: nothing of a key or a value is in any file that a server has, by name or open without one, nor in its log; wrong
keys; rotations beside a load, with kill -9; backups, archives, dumps and the tool.

    encryption.py SERVER TOOL
"""
import os
import random
import shutil
import subprocess
import sys
import threading
import time

import redis

from own_server import Server, expect, fail, free_port, wait_until

server_program, tool = sys.argv[1], sys.argv[2]
MARKS = [b"SECRETKEY", b"SECRETFIELD", b"SECRETVALUE", b"SECRETCHANNEL"]


def write_key(path):
    with open(path, "w") as file:
        file.write(os.urandom(32).hex() + "\n")


def new_server(*options, key=True, **more):
    server = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb", "--archive-interval", "1", *options)
    server.data = server.directory + "/data"
    server.archive = server.directory + "/archive"
    server.key = server.directory + "/master.key"
    server.log = server.directory + "/server.log"
    write_key(server.key)
    server.options += ["--archive-dir", server.archive, "--logfile", server.log, "--loglevel", "debug"]
    if key:
        server.options += ["--encryption-key-file", server.key]
    os.mkdir(server.data)
    server.start()
    return server


def run_tool(*arguments, code=0):
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, timeout=240)
    text = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode != code:
        fail("%r: exit %d, not %d: %s" % (arguments, done.returncode, code, text[-2000:]))
    return text


def look_into(name, path, seen):
    """In pieces that overlap: files of the log are large."""
    try:
        with open(path, "rb") as file:
            rest = b""
            while piece := file.read(1 << 20):
                for mark in MARKS:
                    if mark in rest + piece:
                        fail("%s has %r" % (name, mark))
                rest = piece[-64:]
    except (FileNotFoundError, PermissionError, OSError):
        return
    seen.append(name)


def search(server):
    """All files below its directory, and those that the process has open without a name."""
    seen = []
    for folder, _, names in os.walk(server.directory):
        for name in names:
            if not name.startswith("socket"):
                look_into(os.path.join(folder, name), os.path.join(folder, name), seen)
    if server.process is not None and server.process.poll() is None:
        descriptors = "/proc/%d/fd" % server.process.pid
        for number in os.listdir(descriptors):
            path = descriptors + "/" + number
            target = os.readlink(path)
            if target.startswith(server.directory) and "socket" not in target:
                look_into(target, path, seen)
    return seen


def fill(client, first=0, count=60):
    for i in range(first, first + count):
        client.set("SECRETKEY:%d" % i, "SECRETVALUE" * (1 + i % 40 * 20))
        client.hset("SECRETKEY:h%d" % i, mapping={"SECRETFIELD%d" % k: "SECRETVALUE%d" % k for k in range(i % 200 + 1)})
        client.zadd("SECRETKEY:z%d" % (i % 5), {"SECRETVALUE:%d" % i: i})
        client.xadd("SECRETKEY:x", {"SECRETFIELD": "SECRETVALUE%d" % i})
        client.rpush("SECRETKEY:l", "SECRETVALUE%d" % i)
        client.sadd("SECRETKEY:s", "SECRETVALUE%d" % i)
    client.set("SECRETKEY:large", b"SECRETVALUE" * 300000)
    client.append("SECRETKEY:large", b"SECRETVALUE" * 100)
    client.expire("SECRETKEY:1", 100000)
    client.publish("SECRETCHANNEL", "SECRETVALUE")
    client.execute_command("FUNCTION", "LOAD", "REPLACE",
                           "#!lua name=mine\nredis.register_function('f', function() return 'SECRETVALUE' end)")
    list(client.scan_iter(match="SECRETKEY*", count=5))


def digest(client):
    return client.execute_command("DEBUG", "DIGEST")


def refuse(server, words, *options):
    command = [server_program, "--port", "0", "--unixsocket", server.socket, "--dir", server.data, *options]
    done = subprocess.run(command, capture_output=True, timeout=180)
    lines = [line for line in (done.stdout + done.stderr).decode().splitlines() if words in line]
    if done.returncode == 0 or len(lines) != 1:
        fail("%r: exit %d, %d lines with %r: %s" % (options, done.returncode, len(lines), words, done.stdout.decode()[-1500:]))


def check_files_and_keys():
    port = free_port()
    server = new_server("--port", port, "--notify-keyspace-events", "KEA")
    replica = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb", "--encryption-key-file", server.key)
    try:
        client = server.connect()
        fill(client)
        client.save()
        replica.data = server.directory + "/replica"
        os.mkdir(replica.data)
        replica.start("--replicaof", "127.0.0.1 %d" % port)
        wait_until("it does not follow", lambda: replica.connect().info("replication")["master_link_status"] == "up")
        fill(client, 60, 20)
        wait_until("it lags", lambda: digest(replica.connect()) == digest(client))
        wait_until("nothing is archived", lambda: client.info("storage")["archive_behind_commits"] == 0)
        seen = search(server)
        for suffix in (".log", ".vlog", "MANIFEST", "dump.rdb", "keys", ".arc", "server.log"):
            expect("a file like %s was looked into" % suffix, any(name.endswith(suffix) for name in seen))
        client.execute_command("DEBUG", "RELOAD")
        before = digest(client)
        replica.stop()  # it keeps its backlog
        server.kill()
        search(server)
        refuse(server, "the database is encrypted, and no key was given")
        wrong = server.directory + "/wrong.key"
        write_key(wrong)
        refuse(server, "the key that was given is not the one that this directory was encrypted with", "--encryption-key-file", wrong)
        refuse(server, "the key command has failed (exit code 3)", "--encryption-key-command", "exit 3")
        refuse(server, "holds no key", "--encryption-key-command", "echo 12")
        server.start()
        client = server.connect()
        expect("after kill -9", digest(client), before)
        expect("INFO", client.info("storage")["encryption"], 1)
        with open("/proc/%d/limits" % server.process.pid) as limits:
            core = [line for line in limits if line.startswith("Max core file size")][0].split()
            expect("cores", core[4:6], ["0", "0"])
        with open("/proc/%d/coredump_filter" % server.process.pid) as filter_file:
            expect("what a core has", int(filter_file.read(), 16), 0)
        server.stop()
        search(server)
        expect("check", "clean" in run_tool("check", "--encryption-key-file", server.key, server.data))
        text = run_tool("check", server.data, code=2)
        expect("one line", text.count("\n"), 1)
        expect("check without a key", "must name its key" in text)
        run_tool("info", "--encryption-key-command", "cat " + server.key, server.data)
    finally:
        replica.clean_up()
        server.clean_up()


def rotate(server, client, what):
    client.config_set("encryption-rotate", what)
    if what == "rewrite":
        wait_until("it is not rewritten", lambda: client.info("storage")["encryption_rewriting"] == 0)
    expect("rotation %s" % what, client.info("storage")["encryption_last_rotation_failed"], 0)


def check_rotations():
    server = new_server()
    try:
        client = server.connect()
        fill(client)
        stop = threading.Event()

        def load():
            mine, i = server.connect(), 0
            while not stop.is_set():
                mine.set("SECRETKEY:load%d" % (i % 500), "SECRETVALUE" * random.randrange(200))
                i += 1

        thread = threading.Thread(target=load)
        thread.start()
        try:
            rotate(server, client, "data")
            expect("two keys", client.info("storage")["encryption_keys"], 2)
            write_key(server.key)
            rotate(server, client, "master")
            rotate(server, client, "rewrite")
            expect("one key", client.info("storage")["encryption_keys"], 1)
        finally:
            stop.set()
            thread.join()
        before = digest(client)
        search(server)
        for _ in range(3):  # cut at any moment
            client.config_set("encryption-rotate", "rewrite")
            time.sleep(random.random() / 5)
            server.kill()
            server.start()
            client = server.connect()
            expect("after a rotation that was cut", digest(client), before)
        client.save()
        rotate(server, client, "rewrite")
        client.execute_command("DEBUG", "RELOAD")  # whose dump has the key from before
        expect("reloaded", digest(client), before)
        server.stop()
        expect("check", "clean" in run_tool("check", "--encryption-key-file", server.key, server.data))
    finally:
        server.clean_up()


def check_conversion():
    server = new_server(key=False)
    try:
        client = server.connect()
        fill(client)
        before = digest(client)
        server.stop()
        shutil.rmtree(server.archive)
        refuse(server, "a key was given, and the database is not encrypted", "--encryption-key-file", server.key)
        server.options += ["--encryption-key-file", server.key]
        server.start("--encryption-convert", "yes")
        client = server.connect()
        wait_until("it is not converted", lambda: client.info("storage")["encryption_plain"] == 0)
        expect("converted", digest(client), before)
        search(server)
        server.kill()
        search(server)
        server.start()
        expect("started again", digest(server.connect()), before)
    finally:
        server.clean_up()


def check_copies():
    server = new_server()
    try:
        client = server.connect()
        key = ["--encryption-key-file", server.key]
        fill(client)
        backup, restored = server.directory + "/backup", server.directory + "/restored"
        run_tool("backup", *key, server.socket, backup)
        fill(client, 60, 20)
        wait_until("nothing is archived", lambda: client.info("storage")["archive_behind_commits"] == 0)
        search(server)
        before = digest(client)
        server.kill()
        run_tool("restore", *key, "--archive", server.archive, backup, restored)
        search(server)
        other = Server(server_program, "--enable-debug-command", "yes", "--maxmemory", "64mb", *key)
        other.data = restored
        other.start()
        expect("restored", digest(other.connect()), before)
        other.clean_up()
        server.start("--encryption-plain-rdb", "yes")
        server.connect().save()
        with open(server.data + "/dump.rdb", "rb") as file:
            expect("a plain dump", file.read(5), b"REDIS")
        os.remove(server.data + "/dump.rdb")
        server.connect().config_set("encryption-plain-rdb", "no")
        server.connect().save()
        with open(server.data + "/dump.rdb", "rb") as file:
            expect("a sealed dump", file.read(8), b"SETTSEAL")
        server.stop()
        search(server)
    finally:
        server.clean_up()


check_files_and_keys()
check_rotations()
check_conversion()
check_copies()
