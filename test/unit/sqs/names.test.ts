import { describe, expect, test } from 'vitest';
import { deadName, isDeadName, queueOf, sqsName } from '../../../src/stores/sqs/names.ts';

const plain = { prefix: '', isFifo: false };

describe('the name of a queue in SQS', () => {
  test.each([
    ['celery', 'celery'],
    ['tasks.high', 'tasks-high'],
    ['a b', undefined],
    ['a/b:c@d', 'a_b_c_d'],
    ['under_score-dash', 'under_score-dash'],
    ['orders.v2.fifo', 'orders-v2.fifo'],
    ['ü', undefined],
    ['x'.repeat(81), undefined],
  ])('of %s is %s, as Celery maps it', (queue, name) => {
    if (name === undefined) expect(() => sqsName(queue, plain)).toThrow(/its name in SQS would be/);
    else expect(sqsName(queue, plain)).toBe(name);
  });

  test('has the prefix, and ends in .fifo where every queue is one', () => {
    expect(sqsName('q', { prefix: 'hoge-', isFifo: false })).toBe('hoge-q');
    expect(sqsName('q', { prefix: 'my.app.', isFifo: true })).toBe('my-app-q.fifo');
    expect(queueOf('my-app-q.fifo', { prefix: 'my.app.', isFifo: true })).toBe('q');
    expect(queueOf('hoge-q.fifo', { prefix: 'hoge-', isFifo: false })).toBe('q.fifo');
  });

  test('of dead letters is beside it', () => {
    expect(deadName('celery')).toBe('celery-dead');
    expect(deadName('orders.fifo')).toBe('orders-dead.fifo');
    expect([isDeadName('orders-dead.fifo'), isDeadName('celery-dead'), isDeadName('dead')]).toEqual([
      true,
      true,
      false,
    ]);
  });
});
