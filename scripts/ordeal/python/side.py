"""What every Python process of the ordeal is told (the same as side.ts reads), and how it writes records."""
import json
import os
import signal
import threading
import time
from types import SimpleNamespace

side = SimpleNamespace(**json.loads(os.environ['LOVAGE_ORDEAL']))


def id_of(index):
    return '07dea100-0000-4000-8000-%012d' % index


def sleep_of(index):
    """Milliseconds: from half to one and a half of the average."""
    return round(side.taskMs * (0.5 + (index % 11) / 10))


class Notes:
    """A file with one write a line: nothing is lost or mixed up, however the process ends."""

    def __init__(self, *path):
        self.file = os.open(os.path.join(side.folder, *path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, what, index, attempt):
        os.write(self.file, b'%s %d %d %d\n' % (what, time.time() * 1000, index, attempt))


def end_with_ordeal():
    """Ends this process group when the ordeal is gone, however that ended: then its pipe closes."""
    def wait():
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)
    threading.Thread(target=wait, daemon=True).start()
