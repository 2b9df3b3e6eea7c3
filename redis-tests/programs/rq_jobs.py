"""What the jobs of queue_rq.py do: RQ imports them by name."""


def add(a, b):
    return a + b


def fail():
    raise ValueError("as it should")
