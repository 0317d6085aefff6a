import { expect, test } from 'vitest';
import { dynamodbBackend } from '../../../src/backends/dynamodb.ts';
import { s3Backend } from '../../../src/backends/s3.ts';
import { sqsBroker } from '../../../src/brokers/sqs.ts';

/** What Node warns of while something runs. */
async function warningsOf(run: () => Promise<void>): Promise<string[]> {
  const heard: string[] = [];
  const listener = ({ message }: Error) => heard.push(message);
  process.on('warning', listener);
  await run();
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', listener);
  return heard;
}

/** Runs something where AWS's SDK finds neither region nor credentials. */
async function asNobody(run: () => Promise<void>): Promise<void> {
  const before = { ...process.env };
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  process.env.AWS_CONFIG_FILE = '/dev/null';
  process.env.AWS_SHARED_CREDENTIALS_FILE = '/dev/null';
  // Nor asks the machine whether it is one of AWS's.
  process.env.AWS_EC2_METADATA_DISABLED = 'true';
  try {
    await run();
  } finally {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
  }
}

async function startAndStop(url: string, options: Readonly<Record<string, unknown>>): Promise<void> {
  const broker = sqsBroker(url, options);
  await broker.start();
  await broker.stop();
}

test('keys in a URL are warned of, once, and never shown; those of a stand-in are not', async () => {
  const local = await warningsOf(() => startAndStop('sqs://test:test@127.0.0.1:4566//', { is_secure: false }));
  expect(local).toEqual([]);
  const heard = await warningsOf(async () => {
    for (let i = 0; i < 2; i++) await startAndStop('sqs://AKIA:topsecret@', { region: 'eu-west-1' });
  });
  expect(heard).toEqual([expect.stringMatching(/^sqs:\/\/AKIA:\*\*@ has keys of AWS in it/)]);
  expect(heard.join()).not.toContain('topsecret');
});

test('a broker without a region says how to give one, at the start', async () => {
  await asNobody(async () => {
    await expect(sqsBroker('sqs://AKIA:secret@').start()).rejects.toThrow(/expected a region.*set AWS_REGION/);
    process.env.AWS_DEFAULT_REGION = 'eu-west-1';
    await startAndStop('sqs://AKIA:secret@', {});
  });
});

test.each([
  ['sqs', () => sqsBroker('sqs://', { region: 'eu-west-1' })],
  ['dynamodb', () => dynamodbBackend('dynamodb://@eu-west-1/celery')],
  ['s3', () => s3Backend('s3://results', { region: 'eu-west-1' })],
] as const)('%s:// without credentials says how to give them, at the start', async (_, make) => {
  await asNobody(async () => {
    const error = await make()
      .start()
      .catch((e) => e);
    expect(error).toMatchObject({ code: 'STORE_ACCESS', retryable: false });
    expect(error.message).toMatch(/no credentials were found.*role.*AWS_ACCESS_KEY_ID.*AWS_PROFILE/);
  });
});
