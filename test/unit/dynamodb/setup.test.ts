import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dynamodbBackend } from '../../../src/backends/dynamodb.ts';
import { StoreMissingError } from '../../../src/errors.ts';
import { DynamodbShop, record } from '../../support/dynamodb-shop.ts';
import { needs, setUp } from '../../support/set-up.ts';

let shop: DynamodbShop;

beforeAll(async () => {
  shop = await DynamodbShop.open();
});
afterAll(() => shop[Symbol.asyncDispose]());

const states = async (name: string) =>
  (await dynamodbBackend(shop.url(name)).setup?.plan(needs))?.map(({ kind, state }) => `${kind} ${state}`);

describe('setting up a table', () => {
  test('shows what is missing, makes it, and does nothing twice', async () => {
    expect(await states('fresh')).toEqual(['table missing', 'removal of old items missing']);
    shop.proxy.reset();
    await setUp(dynamodbBackend(shop.url('fresh')).setup);
    expect(shop.proxy.count('CreateTable')).toBe(1);
    expect(shop.proxy.count('UpdateTimeToLive')).toBe(1);
    // The stand-in knows no expiry, so that stays missing there.
    expect(await states('fresh')).toEqual(['table exists', 'removal of old items missing']);
  });

  test('two at the same time make one table', async () => {
    const { setup } = dynamodbBackend(shop.url('both'));
    await Promise.all([setUp(setup), setUp(setup)]);
    expect((await states('both'))?.[0]).toBe('table exists');
  });

  test('tells each role what it must be allowed, on this table only', async () => {
    const { setup } = dynamodbBackend(`${shop.url('fresh')}?region=eu-west-1`);
    const worker = await setup?.permissions('worker', { ...needs, account: '123456789012' });
    expect(new Set(worker?.map(({ resource }) => resource))).toEqual(
      new Set(['arn:aws:dynamodb:eu-west-1:123456789012:table/fresh']),
    );
    expect(worker?.map(({ action }) => action)).toContain('dynamodb:PutItem');
    expect(worker?.map(({ action }) => action)).not.toContain('dynamodb:CreateTable');
    const admin = await setup?.permissions('setup', needs);
    expect(admin?.map(({ action }) => action)).toContain('dynamodb:CreateTable');
  });

  test('large results in S3 bring the needs of the bucket', async () => {
    const { setup } = dynamodbBackend(shop.url('fresh'), { largeResults: 's3://large/results' });
    const resources = (await setup?.permissions('worker', needs))?.map(({ resource }) => resource);
    expect(resources).toContain('arn:aws:s3:::large/results/*');
  });

  test('no action that is used at work is missing in the policy', async () => {
    const backend = await shop.backend(await shop.table());
    shop.proxy.reset();
    await backend.storeMany([record('a', 'STARTED'), record('b', 'SUCCESS')], 1000);
    await backend.storeMany([record('b', 'STARTED')]);
    await backend.fetchMany(['a']);
    await backend.forgetMany(['a']);
    await backend.joins?.setSize('j', 1, 1000);
    await backend.joins?.addMany('j', [{ key: 'k', index: 0, document: '{}' }], 500);
    await backend.joins?.take('j');
    await backend.limits?.claimMany([{ key: 'k', holder: 'h', leaseMs: 1000 }]);
    await backend.limits?.reserveMany([
      { key: 'r', id: 'a', intervalMs: 1000, burst: 1 },
      { key: 'r', id: 'b', intervalMs: 1000, burst: 1 },
    ]);
    const allowed = (await backend.setup?.permissions('worker', needs))?.map(({ action }) => action) ?? [];
    expect(allowed).toEqual(expect.arrayContaining([...shop.proxy.counts.keys()].map((name) => `dynamodb:${name}`)));
  });
});

describe('a table that is not there', () => {
  test('is never made by use, and the error names the command', async () => {
    shop.proxy.reset();
    const backend = await shop.backend('nowhere');
    const [failure] = await backend.storeMany([record('a', 'SUCCESS')]);
    expect(failure?.error).toBeInstanceOf(StoreMissingError);
    expect(failure?.error.message).toMatch(/table 'nowhere' of dynamodb:\/\/test:\*\*@.* does not exist: lovage setup/);
    await expect(backend.fetchMany(['a'])).rejects.toThrow('lovage setup');
    await expect(backend.watch(['a'], () => {})).rejects.toThrow('lovage setup');
    expect(shop.proxy.count('CreateTable')).toBe(0);
  });

  test('is a problem for the doctor, and one that is there is looked at', async () => {
    const missing = await dynamodbBackend(shop.url('nowhere')).diagnose?.(needs);
    expect(missing?.checks).toMatchObject([{ verdict: 'problem', advice: expect.stringContaining('lovage setup') }]);
    const there = await dynamodbBackend(shop.url(await shop.table())).diagnose?.(needs);
    expect(there?.checks.map(({ verdict }) => verdict)).toEqual(['ok', 'ok', 'warning', 'ok', 'ok']);
    expect(there?.usage).toContainEqual(expect.objectContaining({ price: 'dynamodb.write', perTask: 1 }));
  });
});
