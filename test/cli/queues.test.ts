import { describe, expect, test } from 'vitest';
import { Place } from './lovage.ts';

describe('lovage queues', () => {
  test('shows what waits where', async () => {
    const place = new Place();
    expect((await place.run(['queues'])).stdout).toBe('No queues yet.\n');
    await place.run(['call', 'x']);
    await place.run(['call', 'x', '--queue', 'mail', '--countdown', '60']);
    expect((await place.run(['queues'])).stdout).toBe(
      [
        'queue   ready  in flight  delayed  dead',
        'celery      1          0        0     0',
        'mail        0          0        1     0',
        '',
      ].join('\n'),
    );
    expect(JSON.parse((await place.run(['queues', '--json'])).stdout)).toEqual([
      { queue: 'celery', ready: 1, inFlight: 0, delayed: 0, dead: 0 },
      { queue: 'mail', ready: 0, inFlight: 0, delayed: 1, dead: 0 },
    ]);
  });
});

describe('lovage purge', () => {
  test('drops what waits in the queues that were chosen', async () => {
    const place = new Place();
    for (const queue of ['a', 'a', 'b']) await place.run(['call', 'x', '--queue', queue]);
    expect((await place.run(['purge', '-f'])).stdout).toBe('Purged 0 messages from 1 queue.\n');
    expect((await place.run(['purge', '-f', '-Q', 'a,b', '-X', 'b'])).stdout).toBe('Purged 2 messages from 1 queue.\n');
    const json = await place.run(['purge', '-f', '-Q', 'a,b', '--json']);
    expect(JSON.parse(json.stdout)).toEqual({ purged: 1, queues: ['a', 'b'] });
  });

  test('does nothing without -f where nobody can be asked', async () => {
    const place = new Place();
    await place.run(['call', 'x']);
    const { status, stdout, stderr } = await place.run(['purge']);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^error CONFIG: This drops all messages of queue celery .* say -f if you mean it\n$/);
    expect((await place.run(['purge', '-f'])).stdout).toBe('Purged 1 message from 1 queue.\n');
  });

  test('has nothing to do when every queue is excluded', async () => {
    expect((await new Place().run(['purge', '-f', '-X', 'celery'])).status).toBe(2);
  });
});
