import { expect, test } from 'vitest';
import { sqsLocation } from '../../../src/stores/sqs/url.ts';

test('the settings of the move from Redis work as they are, also as texts from the environment', () => {
  const location = sqsLocation('sqs://AKIA:se%2Fcret@', {
    region: 'ap-northeast-1',
    visibility_timeout: '3600',
    polling_interval: '1',
    wait_time_seconds: '15',
    queue_name_prefix: 'hoge-',
  });
  expect(location).toMatchObject({
    url: 'sqs://AKIA:**@',
    address: { region: 'ap-northeast-1', endpoint: undefined, keysInUrl: true },
    leaseMs: 3_600_000,
    idleMs: 1000,
    waitMs: 15_000,
    prefix: 'hoge-',
  });
  expect(location.address.keys).toEqual({ accessKeyId: 'AKIA', secretAccessKey: 'se/cret' });
});

test('a stand-in is reached as Celery writes it', () => {
  const { address } = sqsLocation('sqs://test:test@127.0.0.1:4566//', { is_secure: false });
  expect(address).toMatchObject({ endpoint: 'http://127.0.0.1:4566', region: 'us-east-1' });
});

test('predefined queues have a URL each, and a region and keys of their own where they are given', () => {
  const { predefined, address } = sqsLocation('sqs://', {
    region: 'eu-west-1',
    predefined_queues: {
      a: { url: 'https://sqs.eu-west-1.amazonaws.com/1/a' },
      b: {
        url: 'https://sqs.us-east-1.amazonaws.com/1/b',
        region: 'us-east-1',
        access_key_id: 'k',
        secret_access_key: 's',
      },
    },
  });
  expect(predefined?.get('a')?.address).toEqual(address);
  expect(predefined?.get('b')?.address).toMatchObject({ region: 'us-east-1', keys: { accessKeyId: 'k' } });
});

test.each([
  [{ visibility_timout: 60 }, /did you mean 'visibilityTimeout'/],
  [{ visibility_timeout: 'an hour' }, /expected a whole number from 1 to 43200, got "an hour"/],
  [{ visibility_timeout: 43_201 }, /from 1 to 43200/],
  [{ wait_time_seconds: 21 }, /from 0 to 20/],
  [{ region: 5 }, /a non-empty string, got 5/],
  [{ is_secure: 'perhaps' }, /true or false/],
  [{ predefined_queues: { a: 'https://x' } }, /predefinedQueues\['a'\]: expected \{ url/],
  [{ sts_role_arn: 'arn:aws:iam::1:role/x' }, /AWS profile/],
])('%o is refused', (options, message) => {
  expect(() => sqsLocation('sqs://', options)).toThrow(message);
});
