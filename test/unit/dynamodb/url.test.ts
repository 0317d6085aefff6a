import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/errors.ts';
import { dynamodbLocation } from '../../../src/stores/dynamodb/url.ts';

const place = (url: string, options = {}) => {
  const { table, address, ttlMs } = dynamodbLocation(url, options);
  return { table, region: address.region, endpoint: address.endpoint, ttlMs };
};

describe('a DynamoDB URL', () => {
  test.each([
    ['dynamodb://@eu-west-1/results', { table: 'results', region: 'eu-west-1' }],
    ['dynamodb://eu-west-1', { table: 'celery', region: 'eu-west-1' }],
    ['dynamodb://', { table: 'celery', region: undefined }],
    [
      'dynamodb://@localhost:8000/results',
      { table: 'results', region: 'us-east-1', endpoint: 'http://localhost:8000' },
    ],
    ['dynamodb://@127.0.0.1:8000', { table: 'celery', region: 'us-east-1', endpoint: 'http://127.0.0.1:8000' }],
    [
      'dynamodb://key:secret@us-east-2/results?read=5&write=5&ttl_seconds=86400',
      { table: 'results', region: 'us-east-2', ttlMs: 86_400_000 },
    ],
    ['dynamodb://@eu-west-1/results?ttl_seconds=-1', { table: 'results', region: 'eu-west-1' }],
  ])('%s', (url, expected) => {
    expect(place(url)).toEqual({ endpoint: undefined, ttlMs: undefined, ...expected });
  });

  test('takes options of the environment as texts', () => {
    expect(place('dynamodb://@eu-west-1', { ttl_seconds: '60', request_timeout: '5' }).ttlMs).toBe(60_000);
  });

  test('shows no secret', () => {
    const { url, address } = dynamodbLocation('dynamodb://AKIA:s3/cr+et@eu-west-1/results');
    expect(url).toBe('dynamodb://AKIA:**@eu-west-1/results');
    expect(address.keys).toEqual({ accessKeyId: 'AKIA', secretAccessKey: 's3/cr+et' });
  });

  test.each([
    ['dynamodb://@eu-west-1/a', /name of a table/],
    ['dynamodb://@eu-west-1/results?ttl_seconds=a day', /ttlSeconds.*whole number of seconds/],
    ['dynamodb://@eu-west-1/results?tll_seconds=5', /ttlSeconds/],
    ['dynamodb://key@eu-west-1/results', /key and its secret/],
    ['dynamodb://@eu-west-1/results?largeResults=bucket', /'table' or a URL/],
    ['redis://localhost', /dynamodb:\/\//],
  ])('%s is refused', (url, message) => {
    expect(() => dynamodbLocation(url)).toThrow(ConfigError);
    expect(() => dynamodbLocation(url)).toThrow(message);
  });
});
