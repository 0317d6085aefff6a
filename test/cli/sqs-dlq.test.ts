/** `lovage dlq` on SQS, where no message is found by its id: with our own dead letters, and with those that a redrive policy names. */
import { expect, test } from 'vitest';
import { Lovage } from '../../src/index.ts';
import { quiet } from '../support/in-memory.ts';
import { startSqs } from '../support/sqs-server.ts';
import { Place } from './lovage.ts';

const never = new AbortController().signal;

test.each([
  ['our own', 'celery-dead'],
  ['those of a redrive policy', 'graves'],
])(
  'dead letters are listed, shown, mended and put back, all at once: %s',
  async (_, dead) => {
    await using sqs = await startSqs();
    sqs.server.createQueue(dead);
    const deadLetterTargetArn = `arn:aws:sqs:us-east-1:000000000000:${dead}`;
    const RedrivePolicy = JSON.stringify({ deadLetterTargetArn, maxReceiveCount: 20 });
    sqs.server.createQueue('celery', dead === 'graves' ? { attributes: { RedrivePolicy } } : {});
    await using app = new Lovage('client', { broker: sqs.url, backend: false, logger: quiet });
    // More than one answer of SQS holds.
    await app.sendMany(
      'shop.add',
      Array.from({ length: 12 }, (_, n) => [n, 'x']),
    );
    const consumer = await (await app.broker()).consume(['celery']);
    for (let count = 0; count < 12; ) {
      const some = await consumer.receive(12, 5000, never);
      count += some.length;
      expect(
        await consumer.rejectMany(
          some,
          some.map(() => 'x is no number'),
        ),
      ).toEqual([]);
    }
    await consumer.close();
    const place = new Place();
    const dlq = async (...words: string[]) => (await place.run(['-b', sqs.url, 'dlq', ...words])).stdout;
    const lying = (queue: string) => sqs.server.inspectQueue(queue)?.messages.ready ?? [];

    expect(lying(dead)).toHaveLength(12);
    const letters: { id: string; taskId: string; reason: string; queue: string }[] = JSON.parse(
      await dlq('list', '--json'),
    );
    expect(letters).toHaveLength(12);
    const [letter] = letters;
    expect(letter).toMatchObject({ reason: 'x is no number', queue: 'celery' });
    expect(await dlq('show', letter?.taskId ?? '')).toMatch(/args +\[\d+,"x"\]/);
    expect(await dlq('edit', letter?.id ?? '', '--args', '[2, 3]')).toBe('Sent shop.add to celery again.\n');
    expect(await dlq('retry', '--all')).toBe('Put 11 messages back.\n');
    expect(await dlq('list')).toBe('No dead letters.\n');
    expect([lying(dead).length, lying('celery').length]).toEqual([0, 12]);
    const mended = await (await app.broker()).consume(['celery']);
    const back = [...(await mended.receive(12, 5000, never)), ...(await mended.receive(12, 1000, never))];
    const bodies = back.map(({ message: { body } }) => new TextDecoder().decode(body));
    expect(bodies.filter((body) => body.startsWith('[[2,3]'))).toHaveLength(1);
    expect(back.every(({ attempt }) => attempt === 1)).toBe(true);
    await mended.close();
  },
  60_000,
);
