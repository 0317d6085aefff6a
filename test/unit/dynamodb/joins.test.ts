import { randomBytes } from 'node:crypto';
import { UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JoinPart } from '../../../src/contracts/backend.ts';
import { encodeResult } from '../../../src/wire/result.ts';
import { DynamodbShop } from '../../support/dynamodb-shop.ts';

let shop: DynamodbShop;

beforeAll(async () => {
  shop = await DynamodbShop.open();
});
afterAll(() => shop[Symbol.asyncDispose]());

function part(index: number, result: unknown = index): JoinPart {
  const key = `0190${String(index).padStart(8, '0')}-member`;
  const meta = { taskId: key, state: 'SUCCESS', result, children: [] };
  return { key, index, document: encodeResult(meta, { serializer: 'json' }) };
}

async function open() {
  const { joins } = await shop.backend(await shop.table());
  if (!joins) throw new Error('no joins');
  return joins;
}

test('a chord of 10,000 members is counted and read', async () => {
  const joins = await open();
  await joins.setSize('j', 10_000, 60_000);
  const parts = Array.from({ length: 10_000 }, (_, i) => part(i));
  let count = 0;
  for (let from = 0; from < parts.length; from += 500) {
    ({ count } = await joins.addMany('j', parts.slice(from, from + 500), 60_000));
  }
  expect(count).toBe(10_000);
  const got = await joins.take('j');
  expect(got?.map(({ index }) => index)).toEqual(parts.map(({ index }) => index));
}, 600_000);

test('a part whose answer was lost counts once when it comes again', async () => {
  const joins = await open();
  await joins.setSize('j', 2, 60_000);
  shop.proxy.fail('UpdateItem', { lose: true }, { times: 1 });
  await expect(joins.addMany('j', [part(0)], 60_000)).rejects.toThrow();
  expect(await joins.addMany('j', [part(0)], 60_000)).toEqual({ count: 1, size: 2 });
});

test('a part that was stored by a worker which died before it counted is counted when it comes again', async () => {
  const joins = await open();
  await joins.setSize('j', 1, 60_000);
  shop.proxy.fail('UpdateItem', { cut: true }, { times: 1 });
  await expect(joins.addMany('j', [part(0, 'first')], 60_000)).rejects.toThrow();
  expect(await joins.read('j')).toEqual([]);
  expect(await joins.addMany('j', [part(0, 'second')], 60_000)).toEqual({ count: 1, size: 1 });
  expect(await joins.take('j')).toEqual([part(0, 'first')]);
});

test('a part that is too large for an item is read whole', async () => {
  const joins = await open();
  const large = part(0, 'x'.repeat(700_000));
  await joins.addMany('j', [large, part(1)], 60_000);
  expect(await joins.take('j')).toEqual([large, part(1)]);
});

test('parts without a place come last', async () => {
  const joins = await open();
  await joins.addMany('j', [{ ...part(0), index: Number.POSITIVE_INFINITY }, part(1)]);
  expect((await joins.take('j'))?.map(({ index }) => index)).toEqual([1, Number.POSITIVE_INFINITY]);
});

test('more members than an item can count are refused at once', async () => {
  const joins = await open();
  await expect(joins.setSize('j', 40_001)).rejects.toThrow('up to 40000');
});

test('a part to come whose answer was lost counts once when it is told again', async () => {
  const joins = await open();
  await joins.setSize('j', 1, 60_000);
  shop.proxy.fail('UpdateItem', { lose: true }, { times: 1 });
  await expect(joins.grow('j', 'more', 60_000)).rejects.toThrow();
  expect(await joins.grow('j', 'more', 60_000)).toEqual({ count: 0, size: 2 });
});

describe('a join grows as far as an item can count', () => {
  const hashes = (count: number) => Array.from({ length: count }, () => Uint8Array.from(randomBytes(8)));

  test.each([
    ['small', 5000, 18_000],
    ['large', 40_000, 2000],
  ])('a %s one, of which all may arrive', async (_kind, size, most) => {
    const table = await shop.table();
    const { joins } = await shop.backend(table);
    if (!joins) throw new Error('no joins');
    const fill = (set: string, count: number) =>
      shop.raw.send(
        new UpdateItemCommand({
          TableName: table,
          Key: { id: { S: 'lovage-join-j' } },
          UpdateExpression: `ADD ${set} :all`,
          ExpressionAttributeValues: { ':all': { BS: hashes(count) } },
        }),
      );
    await joins.setSize('j', size);
    await joins.grow('j', 'first');
    await fill('grown', most - 2);
    expect(await joins.grow('j', 'last')).toEqual({ count: 0, size: size + most });
    expect(await joins.grow('j', 'first')).toEqual({ count: 0, size: size + most });
    await expect(joins.grow('j', 'one more')).rejects.toThrow(`grown by ${most} members`);
    await fill('arrived', size + most - 1);
    expect(await joins.addMany('j', [part(0)])).toEqual({ count: size + most, size: size + most });
  });
});
