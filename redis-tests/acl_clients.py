#!/usr/bin/env python3
"""Connections whose user changes: closed when he is deleted, or may no longer hear what they are subscribed to; denied when they are
served, if they wait for a key that is no longer theirs.

	acl_clients.py SERVER
"""
import os
import sys
import redis
from own_server import Server, expect, fail, wait_until


def as_user(server, name):
    client = server.connect().client()
    client.execute_command("AUTH", name, "any")
    return client


def send(client, *words):
    client.connection.send_command(*words)


def is_closed(client):
    """Once what was sent before has come."""
    try:
        while True:
            client.connection.read_response()
    except redis.ConnectionError:
        return True
    except redis.TimeoutError:
        return False


def denied(client):
    try:
        return client.connection.read_response()
    except redis.ResponseError as error:
        return str(error)


def blocked(admin, count):
    wait_until("%d clients wait" % count, lambda: admin.info("clients")["blocked_clients"] == count)


def deleted(server, admin):
    """Idle, subscribed and waiting connections of a user are closed, others stay."""
    for name in "gone", "stays":
        admin.execute_command("ACL", "SETUSER", name, "on", "nopass", "~*", "&*", "+@all")
    idle, listener, waiter, other = (as_user(server, name) for name in ("gone", "gone", "gone", "stays"))
    send(listener, "SUBSCRIBE", "news")
    listener.connection.read_response()
    send(waiter, "BLPOP", "list", 0)
    blocked(admin, 1)
    expect("deleted", admin.execute_command("ACL", "DELUSER", "gone"), 1)
    for client in idle, listener, waiter:
        expect("closed", is_closed(client), True)
    expect("the other one", other.ping(), True)
    expect("nothing was taken", admin.rpush("list", "a"), 1)
    admin.delete("list")
    # One who deletes himself gets his reply.
    send(other, "ACL", "DELUSER", "stays")
    expect("own reply", other.connection.read_response(), 1)
    expect("closed himself", is_closed(other), True)


def narrowed(server, admin):
    admin.execute_command("ACL", "SETUSER", "n", "on", "nopass", "resetchannels", "&news", "&chat:*", "+@all")
    topics = ("SUBSCRIBE", "news"), ("SUBSCRIBE", "chat:1"), ("PSUBSCRIBE", "chat:*"), ("SSUBSCRIBE", "chat:2")
    listeners = [as_user(server, "n") for _ in topics]
    for client, words in zip(listeners, topics):
        send(client, *words)
        client.connection.read_response()
    admin.execute_command("ACL", "SETUSER", "n", "resetchannels", "&news")
    expect("told", admin.publish("news", "x"), 1)
    for client in listeners[1:]:
        expect("closed", is_closed(client), True)
    expect("message", listeners[0].connection.read_response(), [b"message", b"news", b"x"])


def served(server, admin):
    """What a waiting connection may no longer take stays."""
    admin.execute_command("ACL", "SETUSER", "w", "on", "nopass", "~list*", "+@all")
    waiters = [as_user(server, "w") for _ in range(3)]
    for client, words in zip(waiters, (("BLPOP", "list1", 0), ("BLMOVE", "list2", "list3", "LEFT", "RIGHT", 0), ("BLPOP", "list4", 0))):
        send(client, *words)
    blocked(admin, 3)
    admin.execute_command("ACL", "SETUSER", "w", "resetkeys", "~list2", "~list4", "-blmove")
    for key in "list1", "list2", "list4":
        admin.rpush(key, "a")
    expect("key", denied(waiters[0]), "this user has no permissions to access one of the keys used as arguments")
    expect("command", denied(waiters[1]), "this user has no permissions to run the 'blmove' command")
    expect("allowed", denied(waiters[2]), [b"list4", b"a"])
    expect("left", [admin.lrange(key, 0, -1) for key in ("list1", "list2", "list3", "list4")], [[b"a"], [b"a"], [], []])


def files(server, admin):
    """ACL LOAD: the default user's connections stay, those of others go; a file with a fault changes nothing."""
    path = os.path.join(server.directory, "users.acl")
    admin.execute_command("ACL", "SETUSER", "f", "on", "nopass", "~*", "+@all")
    expect("saved", admin.execute_command("ACL", "SAVE"), b"OK")
    before = admin.execute_command("ACL", "LIST")
    client = as_user(server, "f")
    with open(path, "a") as file:
        file.write("user other on nosuch\nuser f on\nuser bad +nosuch ~a\nnonsense\n")
    try:
        admin.execute_command("ACL", "LOAD")
        fail("a file with faults was loaded")
    except redis.ResponseError as error:
        text = str(error)
        for part in "Syntax error", "Duplicate user 'f'", "'+nosuch': Unknown command", "should start with user keyword", "no change":
            if part not in text:
                fail("'%s' does not name %s" % (text, part))
    expect("unchanged", admin.execute_command("ACL", "LIST"), before)
    expect("still there", client.ping(), True)
    expect("saved", admin.execute_command("ACL", "SAVE"), b"OK")
    expect("loaded", admin.execute_command("ACL", "LOAD"), b"OK")
    expect("closed", is_closed(client), True)
    expect("the same", admin.execute_command("ACL", "LIST"), before)


def in_a_block(server, admin):
    """A block that becomes a user which it made, and changes him again; and what it must not write to the file."""
    admin.execute_command("ACL", "SETUSER", "maker", "on", "nopass", "~*", "&*", "+@all")
    for change in ("ACL SETUSER made -set", "ACL DELUSER made", "ACL LOAD"):
        client = as_user(server, "maker")
        for line in ("MULTI", "ACL SETUSER made on nopass +@all ~*", "AUTH made x", change, "GET x", "EXEC"):
            send(client, *line.split())
        replies = [client.connection.read_response() for _ in range(5)]
        expect(change, replies, [b"OK"] + [b"QUEUED"] * 4)
        try:
            expect("its last command", len(client.connection.read_response()), 4)
        except redis.ConnectionError:
            pass  # the user is gone
        admin.execute_command("ACL", "DELUSER", "made")
    client = as_user(server, "default")
    for line in ("MULTI", "ACL SETUSER unsure on", "ACL SAVE", "EXEC"):
        send(client, *line.split())
    replies = [client.connection.read_response() for _ in range(4)]
    expect("saved in a block", str(replies[3][1]), "ACL SAVE can't follow a change of users in the same MULTI block")


def large_values(server, admin):
    """Nothing is written for a client that may not."""
    admin.execute_command("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@read")
    client = as_user(server, "reader")
    before = admin.info("all")["value_log_total_bytes"]
    for words in (("SET", "k"), ("APPEND", "k"), ("MSET", "a", "b", "k")):
        send(client, *words, b"x" * (8 << 20))
        expect("large", denied(client), "this user has no permissions to run the '%s' command" % words[0].lower())
    expect("value log", admin.info("all")["value_log_total_bytes"], before)


def main():
    server = Server(sys.argv[1], "--aclfile", "users.acl")
    open(os.path.join(server.directory, "users.acl"), "w").close()
    try:
        server.start()
        admin = server.connect()
        for test in deleted, narrowed, served, files, in_a_block, large_values:
            test(server, admin)
            print(test.__name__ + ": ok", flush=True)
    finally:
        server.clean_up()


if __name__ == "__main__":
    main()
