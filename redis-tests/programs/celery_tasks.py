"""The application of queue_celery.py: its worker, a process of its own, imports it by name."""
import os
from celery import Celery

URL = os.environ["SERVER_URL"]
app = Celery("celery_tasks", broker=URL, backend=URL)
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, result_expires=None, broker_connection_retry=True,
                broker_transport_options={"visibility_timeout": 3}, redis_socket_timeout=30)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return "done"


@app.task
def fail():
    raise ValueError("as it should")
