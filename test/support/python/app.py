"""The Celery application of the interop tests. Where it connects, and how it is configured, comes from the environment."""
import datetime
import decimal
import json
import os
import signal
import threading
import time
import uuid

from celery import Celery, group
from celery.result import AsyncResult

app = Celery('interop', broker=os.environ['TEST_URL'], backend=os.environ.get('TEST_BACKEND', os.environ['TEST_URL']))
app.conf.update(
    # The same routes as the TypeScript application has.
    task_routes={'py.*': {'queue': 'py'}, 'ts.*': {'queue': 'ts'}, 'both.*': {'queue': 'both'}},
    accept_content=['json', 'msgpack', 'yaml'],
    result_accept_content=['json', 'msgpack', 'yaml'],
    # No worker is asked to hold more than it runs: which worker takes what is then easy to foresee.
    worker_prefetch_multiplier=1,
)
app.conf.update(json.loads(os.environ.get('TEST_SETTINGS', '{}')))


def store():
    """A Redis client on the database that both sides share; tests leave notes there."""
    return app.backend.client


class OutOfStock(Exception):
    """An error with two arguments, as applications have."""

    def __init__(self, item, count):
        super().__init__(item, count)
        self.item, self.count = item, count


@app.task(name='py.add')
def add(x, y=0):
    return x + y


@app.task(name='py.echo')
def echo(value=None):
    return value


@app.task(name='py.length')
def length(text):
    return len(text)


@app.task(name='py.call')
def call(*args, **kwargs):
    return {'args': args, 'kwargs': kwargs}


@app.task(name='py.fail')
def fail(text):
    raise ValueError(text)


@app.task(name='py.out_of_stock')
def out_of_stock(item, count):
    raise OutOfStock(item, count)


@app.task(name='py.retry_once', bind=True, max_retries=3)
def retry_once(self, value):
    if self.request.retries == 0:
        raise self.retry(exc=RuntimeError('try again'), countdown=0)
    return [value, self.request.retries]


@app.task(name='py.retry_in_vain', bind=True, max_retries=1)
def retry_in_vain(self):
    raise self.retry(exc=RuntimeError('never works'), countdown=0)


@app.task(name='py.progress', bind=True)
def progress(self, gate):
    """Shows a state of its own until somebody pushes to the list `gate`."""
    self.update_state(state='PROGRESS', meta={'current': 1, 'total': 3})
    store().blpop(gate, timeout=20)
    return 'complete'


@app.task(name='py.note')
def note(value, into):
    """Adds its first argument to a list; returns it."""
    store().rpush(into, json.dumps(value))
    return value


@app.task(name='py.late_note', acks_late=True)
def late_note(value, into):
    """The same, with its message held until its result is stored."""
    return note(value, into)


@app.task(name='py.ignored', ignore_result=True, acks_late=True)
def ignored(into):
    store().rpush(into, 'ran')
    return 'not stored'


@app.task(name='py.whoami', bind=True)
def whoami(self):
    request = self.request
    return {
        'id': request.id, 'root_id': request.root_id, 'parent_id': request.parent_id, 'lang': request.lang,
        'retries': request.retries, 'priority': request.delivery_info['priority'], 'origin': request.origin,
        'queue': request.delivery_info['routing_key'], 'tenant': getattr(request, 'tenant', None),
        'eta': request.eta, 'expires': request.expires,
    }


@app.task(name='py.now')
def now():
    return time.time()


@app.task(name='py.types')
def types():
    return {
        'aware': datetime.datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc),
        'naive': datetime.datetime(2020, 1, 2, 3, 4, 5),
        'date': datetime.date(2020, 1, 2),
        'time': datetime.time(3, 4, 5),
        'uuid': uuid.UUID('12345678-1234-5678-1234-567812345678'),
        'decimal': decimal.Decimal('1.10'),
        'tuple': (1, 2),
        'nan': float('nan'), 'inf': float('inf'), 'big': 2 ** 53 - 1, 'float': 1.5,
        'unicode': 'h\u00e9llo \u2603 \U0001F600', 'none': None, 'true': True,
    }


@app.task(name='py.kinds')
def kinds(value):
    """The Python types of a map's values."""
    return {key: type(item).__name__ for key, item in value.items()}


@app.task(name='py.describe')
def describe(value):
    """How Python shows a value."""
    return repr(value)


@app.task(name='py.on_error')
def on_error(task_id, into):
    """An error callback: what it is told, and the state that it finds stored."""
    result = AsyncResult(task_id, app=app)
    store().rpush(into, json.dumps({'id': task_id, 'state': result.state}))
    return task_id


# The tasks of workflows, which both kinds of workers have.

@app.task(name='cv.add')
def cv_add(x, y):
    return x + y


@app.task(name='cv.mul')
def cv_mul(x, y):
    return x * y


@app.task(name='cv.xsum')
def cv_xsum(numbers):
    def flat(value):
        return sum(map(flat, value)) if isinstance(value, (list, tuple)) else value
    return flat(numbers)


@app.task(name='cv.echo')
def cv_echo(value):
    return value


@app.task(name='cv.fail')
def cv_fail(*_any):
    raise ValueError('no')


def here(self, task, *args):
    """A signature for the queue of the task that runs."""
    return task.s(*args).set(queue=self.request.delivery_info['routing_key'])


@app.task(name='cv.replace', bind=True)
def cv_replace(self, x):
    return self.replace(here(self, cv_add, x, 100))


@app.task(name='cv.replace_group', bind=True)
def cv_replace_group(self, x):
    return self.replace(group(here(self, cv_add, x, 1), here(self, cv_add, x, 2)))


@app.task(name='cv.replace_fail', bind=True)
def cv_replace_fail(self, _x):
    return self.replace(here(self, cv_fail))


@app.task(name='cv.retry_once', bind=True, max_retries=3)
def cv_retry_once(self, value):
    if self.request.retries == 0:
        raise self.retry(exc=RuntimeError('try again'), countdown=0)
    return [value, self.request.retries]


# The tasks of the captured messages (test/vectors).

@app.task(name='cap.add')
def cap_add(x, y):
    return x + y


@app.task(name='cap.mul')
def cap_mul(x, y):
    return x * y


@app.task(name='cap.xsum')
def cap_xsum(numbers):
    return cv_xsum(numbers)


@app.task(name='cap.fail')
def cap_fail(text='boom'):
    raise ValueError(text)


@app.task(name='cap.on_error_new')
def cap_on_error_new(request, exc, traceback):
    return None


@app.task(name='cap.on_error_old')
def cap_on_error_old(task_id):
    return f'errback for {task_id}'


@app.task(name='both.share')
def share(n):
    """One of many small tasks that both kinds of workers have; leaves word of each run."""
    time.sleep(0.02)
    store().rpush('shared', json.dumps([n, 'python']))
    return 'python'


@app.task(name='both.hold', bind=True, acks_late=True)
def hold(self, began, gate):
    """Says in the list `began` who runs it, and ends when somebody pushes to the list `gate`."""
    store().rpush(began, 'python')
    store().blpop(gate, timeout=60)
    return 'python'


def end_with_tests():
    """Ends this worker and its pool with the tests that started it, however those end: then their pipe closes."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if os.environ.get('TEST_WORKER'):
    threading.Thread(target=end_with_tests, daemon=True).start()
