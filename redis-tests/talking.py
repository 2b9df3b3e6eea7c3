#!/usr/bin/python3
"""Interactive transactions over the socket (BEGIN, COMMIT, ROLLBACK): beside kill -9, and what ends them.

    talking.py SERVER [--rounds N]
"""
import random
import socket
import sys
import threading
import time
import redis
from own_server import Server, fail, wait_until

ACCOUNTS, INITIAL, TELLERS = 8, 1000, 6


def connection(server):
    """All commands over one connection, none sent twice."""
    return redis.Redis(unix_socket_path=server.socket, socket_timeout=180, single_connection_client=True, decode_responses=True,
                       retry=None)


def expect_error(code, function, *arguments):
    try:
        answer = function(*arguments)
    except redis.ResponseError as error:
        if not str(error).startswith(code):
            fail("%r answers %s, not %s" % (arguments, error, code))
        return
    fail("%r answers %r, not %s" % (arguments, answer, code))


class Teller(threading.Thread):
    """Moves money until the server goes, and keeps book in a list: what was acknowledged, and what was tried."""

    def __init__(self, server, number, seed):
        super().__init__()
        self.server, self.number = server, number
        self.random = random.Random(seed)
        self.acknowledged = self.conflicts = self.rolled_back = 0
        self.tried = 0
        self.wrong = None

    def transfer(self, client):
        source, target = self.random.sample(range(ACCOUNTS), 2)
        amount = self.random.randint(1, 50)
        client.execute_command("BEGIN")
        balances = [int(client.get("account:%d" % account)) for account in (source, target)]
        client.set("account:%d" % source, balances[0] - amount)
        client.hset("moves:%d" % self.number, self.tried, "%d %d %d" % (source, target, amount))
        client.set("account:%d" % target, balances[1] + amount)
        if self.random.random() < 0.1:
            client.execute_command("ROLLBACK")
            self.rolled_back += 1
            return
        self.tried += 1
        try:
            client.execute_command("COMMIT")
        except redis.ResponseError as error:
            if not str(error).startswith("CONFLICT"):
                raise
            self.tried -= 1
            self.conflicts += 1
            return
        self.acknowledged = self.tried

    def run(self):
        client = connection(self.server)
        try:
            count = client.hlen("moves:%d" % self.number)
            self.tried = self.acknowledged = count
            while True:
                self.transfer(client)
        except (redis.ConnectionError, redis.TimeoutError):
            pass  # it was killed
        except redis.RedisError as error:
            self.wrong = error


def check_books(client, tellers):
    """Every transaction is there as a whole or not at all, and those that were acknowledged are."""
    expected = [INITIAL] * ACCOUNTS
    for teller in tellers:
        moves = client.hgetall("moves:%d" % teller.number)
        if teller.wrong is not None:
            fail("a teller met an error: %s" % teller.wrong)
        if not teller.acknowledged <= len(moves) <= teller.tried:
            fail("%d moves of teller %d are there; %d were acknowledged, %d tried" %
                 (len(moves), teller.number, teller.acknowledged, teller.tried))
        if sorted(int(number) for number in moves) != list(range(len(moves))):
            fail("a move of teller %d is missing" % teller.number)
        for move in moves.values():
            source, target, amount = (int(word) for word in move.split())
            expected[source] -= amount
            expected[target] += amount
    balances = [int(client.get("account:%d" % account)) for account in range(ACCOUNTS)]
    if balances != expected:
        fail("accounts have %r, their moves make %r" % (balances, expected))


def check_kills(server, rounds):
    seeds = random.Random(7)
    client = connection(server)
    client.mset({"account:%d" % account: INITIAL for account in range(ACCOUNTS)})
    moves = conflicts = 0
    for _ in range(rounds):
        tellers = [Teller(server, number, seeds.random()) for number in range(TELLERS)]
        for teller in tellers:
            teller.start()
        wait_until("too little happens", lambda: any(not teller.is_alive() for teller in tellers) or (
            sum(teller.tried for teller in tellers) >= moves + 50 and sum(teller.conflicts for teller in tellers) > 0))
        time.sleep(seeds.random() / 2)  # the moment of the kill is any
        server.kill()
        for teller in tellers:
            teller.join()
        server.start()
        client = connection(server)
        check_books(client, tellers)
        conflicts += sum(teller.conflicts for teller in tellers)
        moves = sum(client.hlen("moves:%d" % number) for number in range(TELLERS))
    return moves, conflicts


def check_ends(server):
    """A connection that closes, RESET, and QUIT roll back."""
    other = connection(server)
    for end in ("close", "RESET", "QUIT"):
        client = connection(server)
        client.execute_command("BEGIN")
        client.set("ended", 1)
        if int(other.info("clients")["transactions_open"]) != 1:
            fail("INFO does not count the transaction")
        if not any("x" in entry["flags"] and entry["multi"] == "1" for entry in other.client_list()):
            fail("CLIENT LIST does not show the transaction")
        if end != "close":
            client.execute_command(end)
        if end == "RESET":
            expect_error("COMMIT without BEGIN", client.execute_command, "COMMIT")
        client.connection_pool.disconnect()  # close() would keep it
        wait_until("the transaction stays open after " + end,
                   lambda: int(other.info("clients")["transactions_open"]) == 0)
        if other.exists("ended"):
            fail("%s commits" % end)


def check_limits(server):
    """Past its time a transaction is rolled back, be it that its client says nothing."""
    other, client = connection(server), connection(server)
    before = int(other.info("stats")["transactions_ended_by_limit"])
    other.config_set("transaction-idle-timeout", 1)
    for words in (("BEGIN",), ("SET", "late", 1)):  # no second is between them
        client.connection.send_command(*words)
    for _ in range(2):
        client.connection.read_response()
    wait_until("transaction-idle-timeout has no effect",
               lambda: int(other.info("stats")["transactions_ended_by_limit"]) == before + 1)
    expect_error("TIMEOUT", client.get, "late")
    expect_error("TIMEOUT", client.execute_command, "COMMIT")
    if client.exists("late"):
        fail("what was rolled back is there")
    other.config_set("transaction-idle-timeout", 30)
    other.config_set("transaction-timeout", 1)
    client.execute_command("BEGIN")
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            client.set("late", 1)
        fail("transaction-timeout has no effect")
    except redis.ResponseError as error:
        if "transaction-timeout" not in str(error):
            fail("a transaction that lasts too long answers %s" % error)
    client.execute_command("ROLLBACK")
    other.config_set("transaction-timeout", 60)


def check_scripts(server):
    """A script ends with its transaction, and goes with its client, whatever it has written."""
    loop = "redis.call('set', 'looped', 1) while true do pcall(function() while true do end end) end"
    other, client = connection(server), connection(server)
    other.config_set("transaction-timeout", 1)
    client.execute_command("BEGIN")
    expect_error("TIMEOUT", client.eval, loop, 0)
    expect_error("TIMEOUT", client.execute_command, "COMMIT")
    other.config_set("transaction-timeout", 0)
    other.config_set("busy-reply-threshold", 0)
    number = client.client_id()
    client.execute_command("BEGIN")

    def run():
        try:
            client.eval(loop, 0)
        except redis.RedisError:
            pass  # it was killed

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until("the script does not run", lambda: has_unkillable_script(other))
    other.client_kill_filter(_id=number)
    wait_until("a script in a transaction outlives its client",
               lambda: int(other.info("clients")["transactions_open"]) == 0)
    thread.join()
    if other.exists("looped"):
        fail("what a script wrote that was ended is there")
    other.config_set("transaction-timeout", 60)
    other.config_set("busy-reply-threshold", 5000)


def has_unkillable_script(client):
    """One that has written. (One that has not would be ended, so the script begins with its write.)"""
    try:
        client.script_kill()
    except redis.ResponseError as error:
        return "UNKILLABLE" in str(error)
    fail("a script was killed that was to have written")


def check_monitor(server):
    """MONITOR shows a transaction with its COMMIT, and where it went back."""
    client, other = connection(server), connection(server)
    with other.monitor() as monitor:
        for command in ("BEGIN", "SAVEPOINT s", "SET shown 1", "ROLLBACK TO s", "RELEASE s", "COMMIT"):
            client.execute_command(*command.split())
        client.ping()
        shown = []
        while shown[-1:] != ["PING"]:
            shown.append(monitor.next_command()["command"])
    expected = ["BEGIN", "SAVEPOINT s", "SET shown 1", "ROLLBACK TO s", "RELEASE s", "COMMIT", "PING"]
    if shown != expected:
        fail("MONITOR shows %r" % shown)


def check_pool(server):
    """A transaction goes on where its commands run: KEYS on the pool, large values piece by piece, others on the reactor."""
    client, other = connection(server), connection(server)
    large = "v" * 3000000
    client.execute_command("BEGIN")
    client.set("large", large)
    if "large" not in client.keys("l*") or client.get("large") != large:
        fail("it does not see what it has written")
    client.rename("large", "larger")
    client.expire("larger", 1000)
    if other.exists("large", "larger"):
        fail("another sees it")
    client.append("larger", "w")
    client.execute_command("COMMIT")
    if other.get("larger") != large + "w" or other.ttl("larger") < 900:
        fail("the large value is not as it was committed")


def check_pipeline(server):
    """Sent at once, it is the same."""
    lines = b"BEGIN\r\nSET p 1\r\nINCR p\r\nGET p\r\nCOMMIT\r\nGET p\r\nBEGIN\r\nSET p 9\r\nROLLBACK\r\nGET p\r\n"
    expected = b"+OK\r\n+OK\r\n:2\r\n$1\r\n2\r\n+OK\r\n$1\r\n2\r\n+OK\r\n+OK\r\n+OK\r\n$1\r\n2\r\n"
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(180)
        s.connect(server.socket)
        s.sendall(lines)
        answer = b""
        while len(answer) < len(expected):
            more = s.recv(4096)
            if not more:
                break
            answer += more
    if answer != expected:
        fail("a pipeline answers %r" % answer)


def main():
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    server = Server(sys.argv[1], "--io-threads", 2)
    try:
        server.start()
        check_pipeline(server)
        check_ends(server)
        check_limits(server)
        check_scripts(server)
        check_pool(server)
        check_monitor(server)  # who ceases to monitor may be the reason for a conflict
        moves, conflicts = check_kills(server, rounds)
        server.stop()
        print("%d kills: %d moves, %d conflicts: all as acknowledged" % (rounds, moves, conflicts))
    finally:
        server.clean_up()


main()
