import { expect, test } from 'vitest';
import { policyOf } from '../../../src/cli/policy.ts';

const queue = (name: string) => `arn:aws:sqs:eu-west-1:123456789012:${name}`;

test('a policy has one statement for all actions that are allowed on the same resources', () => {
  const permissions = ['a', 'b'].flatMap((name) => [
    { action: 'sqs:SendMessage', resource: queue(name) },
    { action: 'sqs:GetQueueUrl', resource: queue(name) },
  ]);
  const policy = policyOf([
    ...permissions,
    { action: 'sqs:SendMessage', resource: queue('a') },
    { action: 'sqs:DeleteMessage', resource: queue('a') },
    { action: 'dynamodb:PutItem', resource: 'arn:aws:dynamodb:eu-west-1:123456789012:table/celery' },
  ]);
  expect(policy).toEqual({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'LovageDynamodb1',
        Effect: 'Allow',
        Action: ['dynamodb:PutItem'],
        Resource: ['arn:aws:dynamodb:eu-west-1:123456789012:table/celery'],
      },
      { Sid: 'LovageSqs1', Effect: 'Allow', Action: ['sqs:DeleteMessage'], Resource: [queue('a')] },
      {
        Sid: 'LovageSqs2',
        Effect: 'Allow',
        Action: ['sqs:GetQueueUrl', 'sqs:SendMessage'],
        Resource: [queue('a'), queue('b')],
      },
    ],
  });
});

test('no permissions make no statements', () => {
  expect(policyOf([]).Statement).toEqual([]);
});
