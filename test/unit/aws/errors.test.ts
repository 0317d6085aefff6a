import { describe, expect, test } from 'vitest';
import { ConfigError, isPassing, StoreAccessError, StoreError, StoreMissingError } from '../../../src/errors.ts';
import { awsError } from '../../../src/stores/aws/errors.ts';

const arn = 'arn:aws:sqs:eu-west-1:123456789012:celery';
const call = { url: 'sqs://', action: 'sqs:SendMessage', on: "queue 'celery'", arn };

function raised(name: string, message = '', extra: object = {}): Error {
  return Object.assign(new Error(message), { name, ...extra });
}

describe('an error of AWS', () => {
  test.each([
    [raised('Error', 'Region is missing'), ConfigError, /set AWS_REGION/, false],
    [raised('CredentialsProviderError', 'nothing'), StoreAccessError, /role/, false],
    [raised('ExpiredTokenException', 'expired'), StoreError, /aws sso login/, true],
    [raised('UnrecognizedClientException', 'no'), StoreAccessError, /does not know this access key/, false],
    [raised('SignatureDoesNotMatch', 'no match'), StoreAccessError, /%2F/, false],
    [raised('InvalidSignatureException', 'Signature expired: 1 is now earlier than 2'), StoreError, /clock/, true],
    [raised('RequestTimeTooSkewed', ''), StoreError, /clock/, true],
    [raised('AWS.SimpleQueueService.NonExistentQueue', ''), StoreMissingError, /queue 'celery' of sqs:.*exist/, false],
    [raised('QueueDoesNotExist', ''), StoreMissingError, /does not exist/, false],
    [raised('ThrottlingException', 'Rate exceeded'), StoreError, /throttled/, true],
    [raised('Whatever', '', { $metadata: { httpStatusCode: 429 } }), StoreError, /throttled/, true],
    [raised('InternalFailure', 'oops', { $metadata: { httpStatusCode: 500 } }), StoreError, /oops \(HTTP 500\)/, true],
    [raised('InvalidAddress', 'odd', { $metadata: { httpStatusCode: 400 } }), StoreError, /odd.*InvalidAddress/, false],
    [raised('PermanentRedirect', "expecting 'eu-west-3'"), ConfigError, /eu-west-3/, false],
    [raised('TimeoutError', '10000 ms'), StoreError, /no answer in time/, true],
    [raised('TimeoutError', 'read ECONNRESET', { code: 'ECONNRESET' }), StoreError, /connection broke before/, true],
    [
      raised('Error', 'getaddrinfo ENOTFOUND sqs.us-eats-1.amazonaws.com', { code: 'ENOTFOUND' }),
      StoreError,
      /'us-eats-1' a region/,
      true,
    ],
    [raised('Error', 'connect ECONNREFUSED', { code: 'ECONNREFUSED' }), StoreError, /cannot be reached/, true],
    [raised('Error', 'wrong version', { code: 'ERR_SSL_WRONG_VERSION_NUMBER' }), ConfigError, /is_secure/, false],
  ])('%o is told with what to do', (error, kind, text, passing) => {
    const told = awsError(error, call);
    expect(told).toBeInstanceOf(kind);
    expect(told.message).toMatch(text);
    expect(told.cause).toBe(error);
    expect(isPassing(told)).toBe(passing);
  });

  test('a denied action is named, with its resource and the line for the policy', () => {
    const { message } = awsError(raised('AccessDeniedException', 'not authorized'), call);
    expect(message).toContain("sqs:SendMessage on queue 'celery'");
    expect(message).toContain(`{ "Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": "${arn}" }`);
    const told =
      'User: arn:aws:iam::1:user/x is not authorized to perform: sqs:receivemessage on resource: arn:aws:sqs:r:1:q because';
    expect(awsError(raised('AccessDenied', told), { url: 'sqs://' }).message).toContain(
      '"Action": ["sqs:receivemessage"], "Resource": "arn:aws:sqs:r:1:q"',
    );
    expect(awsError(raised('KmsAccessDenied', 'key'), call).message).toContain(
      '["kms:Decrypt", "kms:GenerateDataKey"]',
    );
  });
});
