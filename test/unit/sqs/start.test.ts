import { expect, test } from 'vitest';
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
  const before = { ...process.env };
  for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE']) delete process.env[name];
  process.env.AWS_CONFIG_FILE = '/dev/null';
  process.env.AWS_SHARED_CREDENTIALS_FILE = '/dev/null';
  try {
    await expect(sqsBroker('sqs://AKIA:secret@').start()).rejects.toThrow(/expected a region.*set AWS_REGION/);
    process.env.AWS_DEFAULT_REGION = 'eu-west-1';
    await startAndStop('sqs://AKIA:secret@', {});
  } finally {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
  }
});
