"""What the programs in Python share. Each is run as

    python3 NAME.py PHASE PORT JOURNAL

The phases are described in ../programs.py. What a server has acknowledged goes into the journal, a line each."""
import socket
import sys
import time
import traceback

PHASE, PORT, JOURNAL = sys.argv[1], int(sys.argv[2]), sys.argv[3]
URL = "redis://127.0.0.1:%d/0" % PORT


def note(line):
    with open(JOURNAL, "a") as journal:
        journal.write(line + "\n")


def noted(word):
    with open(JOURNAL) as journal:
        return [line[len(word) + 1:].rstrip("\n") for line in journal if line.startswith(word + " ")]


def same(actual, wanted, what):
    if actual != wanted:
        raise AssertionError("%s: %r, not %r" % (what, actual, wanted))


def holds(value, what):
    if not value:
        raise AssertionError(what)


def until(what, condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        holds(time.monotonic() < end, "never: " + what)
        time.sleep(0.02)


def free_port():
    """For another program that it starts."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(**phases):
    try:
        phases[PHASE]()
    except Exception:  # whatever a library raises
        print("FAILED: " + traceback.format_exc())
        sys.exit(1)
