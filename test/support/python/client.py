"""A Python client that tests drive: each line on stdin is {"id", "code", "names"}, each line on stdout {"id", "value"} or
{"id", "error"}. The code is Python; its value is that of its last line, which must be an expression."""
import ast
import datetime
import decimal
import json
import math
import sys
import time
import traceback
import uuid

from celery import chain, chord, group, signature
from celery.result import AsyncResult, GroupResult
from kombu import Connection

from app import OutOfStock, app


def result(task_id):
    return AsyncResult(task_id, app=app)


def outcome(task_id, timeout=15):
    """What a Python program sees of a task that has ended: its state, its value or its exception, its traceback."""
    ended = result(task_id)
    value = ended.get(timeout=timeout, propagate=False)
    if not isinstance(value, BaseException):
        return {'state': ended.state, 'value': value, 'traceback': ended.traceback}
    return {
        'state': ended.state, 'type': type(value).__name__, 'module': type(value).__module__,
        'message': str(value), 'args': [str(arg) for arg in value.args], 'traceback': ended.traceback,
    }


def canvas(code, queue):
    """Builds a workflow on one queue, sends it, and waits: what comes of it, or the name of its error's type."""
    names = {
        's': lambda name, *args: app.signature('cv.' + name, args, queue=queue),
        'si': lambda name, *args: app.signature('cv.' + name, args, queue=queue, immutable=True),
        'taskof': lambda name: app.tasks['cv.' + name],
        'chain': chain, 'chord': chord, 'group': group,
    }
    built = eval(code, names)
    if type(built).__name__ == 'chunks':
        built = group([part.set(queue=queue) for part in built.group().tasks])
    elif type(built).__name__ in ('xmap', 'xstarmap'):
        built.set(queue=queue)
    sent = built.apply_async()
    try:
        return {'value': sent.get(timeout=10)}
    except Exception as error:
        return {'error': type(error).__name__}


def evaluate(code, names):
    scope.update(names)
    tree = ast.parse(code)
    last = tree.body.pop()
    if not isinstance(last, ast.Expr):
        raise SyntaxError('the last line must be an expression: ' + code)
    exec(compile(tree, '<test>', 'exec'), scope)
    return eval(compile(ast.Expression(last.value), '<test>', 'eval'), scope)


scope = dict(globals())
print(json.dumps({'id': 0, 'value': 'ready'}), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    answer = {'id': command['id']}
    try:
        answer['value'] = evaluate(command['code'], command['names'])
        text = json.dumps(answer, allow_nan=False)
    except BaseException:
        text = json.dumps({'id': command['id'], 'error': traceback.format_exc()})
    print(text, flush=True)
