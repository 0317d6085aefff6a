import { expect, test } from 'vitest';
import { maskUrl } from '../../../src/util/mask-url.ts';

test.each([
  ['redis://user:secret@host:6379/0', 'redis://user:**@host:6379/0'],
  ['redis://:secret@host', 'redis://:**@host'],
  ['amqp://user:p@ss:word@host', 'amqp://user:**@host'],
  ['sqs://AKIA:abc%2Fdef@', 'sqs://AKIA:**@'],
  ['sqlite:///tmp/a.db?visibilityTimeout=3', 'sqlite:///tmp/a.db?visibilityTimeout=3'],
  ['https://host/?access_token=abc&x=1&password=p#f', 'https://host/?access_token=**&x=1&password=**#f'],
  ['no url at all', 'no url at all'],
])('%s is shown as %s', (url, masked) => {
  expect(maskUrl(url)).toBe(masked);
});
