import { describe, expect, test } from 'vitest';
import { awsAddress, hostEndpoint, readAwsUrl } from '../../../src/stores/aws/options.ts';

describe('a URL of AWS', () => {
  test.each([
    ['sqs://', {}],
    ['sqs://AKIA:se%2Fcret%2B@', { user: 'AKIA', password: 'se/cret+' }],
    ['sqs://AKIA:se/cr:et@', { user: 'AKIA', password: 'se/cr:et' }],
    ['sqs://test:test@127.0.0.1:4566//', { user: 'test', password: 'test', host: '127.0.0.1', port: '4566' }],
    ['dynamodb://@eu-west-1/tasks?read=5', { host: 'eu-west-1', path: 'tasks', query: 'read=5' }],
    ['s3://bucket/some/prefix/', { host: 'bucket', path: 'some/prefix' }],
  ])('%s is taken apart', (url, parts) => {
    const none = { user: '', password: '', host: '', port: '', path: '', query: '' };
    const { where: _, scheme: __, ...read } = readAwsUrl(url, 'AWS');
    expect(read).toEqual({ ...none, ...parts });
  });

  test('never shows its secret', () => {
    for (const url of ['sqs://AKIA:topsecret@h:x', 'sqs://AKIA:top%secret@', 'sqs://AKIA:topsecret@?region=']) {
      const shown = (() => {
        try {
          return readAwsUrl(url, 'SQS').where;
        } catch (error) {
          return (error as Error).message;
        }
      })();
      expect(shown).toContain('the SQS URL sqs://AKIA:**@');
      expect(shown).not.toMatch(/top/);
    }
  });

  test.each([
    [{}, {}, undefined],
    [{ region: 'eu-west-1' }, { region: 'us-west-2' }, 'eu-west-1'],
    [{}, { region: 'us-west-2' }, 'us-west-2'],
    [{}, { endpoint: 'http://localhost:4566' }, 'us-east-1'],
    [{ endpointUrl: 'https://vpce-1-2.sqs.eu-central-1.vpce.amazonaws.com' }, {}, 'eu-central-1'],
    [{ endpointUrl: 'https://sqs.cn-north-1.amazonaws.com.cn' }, {}, 'cn-north-1'],
  ])('options %o and the place %o come to the region %s', (options, place, region) => {
    expect(awsAddress(readAwsUrl('sqs://', 'SQS'), options, place).region).toBe(region);
  });

  test('half a key, and an endpoint that is none, are refused', () => {
    expect(() => awsAddress(readAwsUrl('sqs://AKIA@', 'SQS'), {})).toThrow(/the key alone/);
    expect(() => awsAddress(readAwsUrl('sqs://', 'SQS'), { secretAccessKey: 'x' })).toThrow(/the secret alone/);
    expect(() => awsAddress(readAwsUrl('sqs://', 'SQS'), { endpointUrl: 'localhost:4566' })).toThrow(/http:\/\/local/);
  });

  test('a host means an endpoint, https unless told otherwise', () => {
    expect(hostEndpoint(readAwsUrl('sqs://k:s@host:1//', 'SQS'), false)).toBe('http://host:1');
    expect(hostEndpoint(readAwsUrl('sqs://host', 'SQS'), true)).toBe('https://host');
    expect(hostEndpoint(readAwsUrl('sqs://k:s@', 'SQS'), true)).toBeUndefined();
  });
});
