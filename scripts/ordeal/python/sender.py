"""The Python sender: as sender.ts. Ends with 0 when everything is confirmed."""
import os
import time

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app import app, step
from side import Notes, end_with_ordeal, id_of, side, sleep_of

BATCH = 50

end_with_ordeal()
path = os.path.join(side.folder, 'sends', side.name)
tries, confirmed = {}, set()
if os.path.exists(path):
    with open(path) as file:
        for line in file:
            what, _, index, _ = line.split()
            if what == 'try':
                tries[int(index)] = tries.get(int(index), 0) + 1
            if what == 'sent':
                confirmed.add(int(index))
notes = Notes('sends', side.name)


def rest():
    """Until the queue is short enough."""
    while True:
        try:
            if app.backend.client.llen(side.queue) <= side.backlog:
                return
        except RedisError:
            pass
        time.sleep(0.05)


def send(index):
    """Until it is confirmed."""
    while True:
        attempt = tries[index] = tries.get(index, 0) + 1
        notes.add(b'try', index, attempt)
        try:
            step.apply_async((index, attempt, sleep_of(index)), task_id=id_of(index))
            notes.add(b'sent', index, attempt)
            return
        except (OperationalError, RedisError, OSError):
            notes.add(b'failed', index, attempt)
            time.sleep(0.1)


left = [index for index in range(side.first, side.end) if index not in confirmed]
for start in range(0, len(left), BATCH):
    rest()
    for index in left[start:start + BATCH]:
        send(index)
