"""RQ: jobs, failures, retries, dependencies, scheduled jobs, results. Workers here run jobs in their own process."""
import datetime
import logging
import os
import sys
import redis
import rq
from rq.job import Job
from rq.registry import FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.scheduler import RQScheduler
from program import PORT, holds, note, noted, run, same, until

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
logging.disable(logging.CRITICAL)
connection = redis.Redis(port=PORT)


def worker(*queues):
    return rq.SimpleWorker(queues, connection=connection)


def results():
    queue = rq.Queue("plain", connection=connection)
    jobs = [queue.enqueue("rq_jobs.add", n, 1) for n in range(5)]
    first = queue.enqueue("rq_jobs.add", 10, 1, at_front=True)
    same(queue.job_ids[0], first.id, "at the front")
    worker(queue).work(burst=True)
    same([job.result for job in jobs], [1, 2, 3, 4, 5], "results")
    same(first.get_status(), "finished", "its status")
    same(len(queue), 0, "the queue is empty")


def failures():
    queue = rq.Queue("failures", connection=connection)
    job = queue.enqueue("rq_jobs.fail", retry=rq.Retry(max=2))
    worker(queue).work(burst=True)
    same(job.get_status(), "failed", "after three tries")
    failed = FailedJobRegistry(queue=queue)
    same(failed.get_job_ids(), [job.id], "the registry")
    failed.requeue(job)
    same(queue.job_ids, [job.id], "it is queued again")
    queue.empty()


def order():
    low, high = (rq.Queue(name, connection=connection) for name in ("low", "high"))
    child = low.enqueue("rq_jobs.add", 1, 1)
    parent = high.enqueue("rq_jobs.add", 2, 2)
    last = high.enqueue("rq_jobs.add", 3, 3, depends_on=[child, parent])
    same(last.get_status(), "deferred", "it waits for the others")
    worker(high, low).work(burst=True)
    same(last.result, 6, "and runs in the end")


def later():
    queue = rq.Queue("later", connection=connection)
    job = queue.enqueue_in(datetime.timedelta(milliseconds=200), "rq_jobs.add", 1, 2)
    same(ScheduledJobRegistry(queue=queue).get_job_ids(), [job.id], "scheduled")
    scheduler = RQScheduler([queue], connection=connection)
    scheduler.acquire_locks()
    holds(queue.name in scheduler.acquired_locks, "the lock of the scheduler")
    until("it is queued", lambda: scheduler.enqueue_scheduled_jobs() or queue.job_ids == [job.id])
    worker(queue).work(burst=True)
    same(job.result, 3, "its result")
    scheduler.release_locks()


def tour():
    for part in results, failures, order, later:
        part()


def load():
    """Every third job is run, and has its result noted."""
    queue = rq.Queue("load", connection=connection)
    count = 0
    while True:
        count += 1
        note("added " + queue.enqueue("rq_jobs.add", count, count, result_ttl=-1).id)
        if count % 3 == 0:
            worker(queue).work(burst=True, max_jobs=1)


def settle():
    queue = rq.Queue("load", connection=connection)
    # Those that were running: RQ takes them for failed once they have not been heard of.
    for job_id in StartedJobRegistry(queue=queue).get_job_ids():
        queue.enqueue_job(Job.fetch(job_id, connection=connection))
    added = [Job.fetch(job_id, connection=connection) for job_id in noted("added")]
    # RQ 1.13 takes a job from its queue, and notes later that it runs. In between it is nowhere; it is the oldest of those that are left.
    oldest = next(job for job in added if job.get_status() == "queued")
    if oldest.id not in queue.job_ids:
        queue.enqueue_job(oldest)
    worker(queue).work(burst=True)
    for job_id in noted("added"):
        job = Job.fetch(job_id, connection=connection)
        same(job.get_status(), "finished", "job " + job_id)
        same(job.result, 2 * job.args[0], "its result")


run(tour=tour, load=load, settle=settle)
