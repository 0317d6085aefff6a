"""The Python side: the same task as app.ts has, on a Celery that is configured to lose nothing it can help."""
import os
import time

from celery import Celery
from celery.signals import worker_init
from kombu import Queue

from side import Notes, end_with_ordeal, side

app = Celery('ordeal', broker=side.url, backend=side.url)
app.conf.update(
    task_default_queue=side.queue,
    task_queues=[Queue(side.queue)],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={'visibility_timeout': side.visibilityTimeout},
    broker_connection_max_retries=None,
    # The sender itself sends again, so that its record tells of each message.
    task_publish_retry=False,
)

# That of the worker: the processes of its pool are forked from it, and may outlive it.
worker_pid = os.getpid()
notes = None


@app.task(name='ordeal.step')
def step(index, attempt, ms):
    global notes
    # Opened in the process of the pool, not in its parent.
    notes = notes or Notes('runs', '%s.%d.%d' % (side.name, worker_pid, os.getpid()))
    notes.add(b'begin', index, attempt)
    time.sleep(ms / 1000)
    notes.add(b'end', index, attempt)
    return index


@worker_init.connect
def tether(**_):
    end_with_ordeal()
