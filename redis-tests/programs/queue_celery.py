"""Celery over Kombu's transport for Redis: tasks, groups, chains, chords, retries, countdowns, inspection, late acknowledgement."""
import contextlib
import os
import subprocess
import sys
from celery import chain, chord, group
from celery.result import AsyncResult
from program import URL, holds, note, noted, run, same, until

os.environ["SERVER_URL"] = URL
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from celery_tasks import add, app, fail, third_time, total  # noqa: E402: after the address is known


def start_worker():
    command = [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--pool", "solo", "--loglevel", "CRITICAL"]
    return subprocess.Popen(command, cwd=os.path.dirname(os.path.abspath(__file__)), stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def worker():
    process = start_worker()
    try:
        until("the worker answers", lambda: app.control.inspect(timeout=1).ping())
        yield
    finally:
        process.kill()
        process.wait()


def tour():
    with worker():
        same(add.delay(2, 3).get(timeout=300), 5, "a task")
        same(group(add.s(i, i) for i in range(10))().get(timeout=300), [2 * i for i in range(10)], "a group")
        same(chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=300), 10, "a chain")
        same(chord((add.s(i, 1) for i in range(20)), total.s())().get(timeout=300), 210, "a chord")
        same(third_time.delay().get(timeout=300), "done", "retries")
        same(add.apply_async((1, 1), countdown=0.3).get(timeout=300), 2, "a countdown")
        error = fail.delay().get(timeout=300, propagate=False)
        holds(isinstance(error, ValueError), "a failure is kept")
        forgotten = add.delay(1, 2)
        forgotten.get(timeout=300)
        forgotten.forget()
        same(AsyncResult(forgotten.id, app=app).status, "PENDING", "it is forgotten")


def load():
    start_worker()
    count = 0
    while True:
        count += 1
        note("added " + add.delay(count, count).id)


def settle():
    with worker():
        for task_id in noted("added"):
            AsyncResult(task_id, app=app).get(timeout=300)


run(tour=tour, load=load, settle=settle)
