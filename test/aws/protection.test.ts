/** What a worker asks the agent of ECS for, and when; the clock is moved by hand. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { protectFromScaleIn } from '../../src/aws/scaling/protection.ts';
import { Playground } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

afterEach(() => vi.useRealTimers());

/** An agent that grants everything, with what it was asked. */
async function agent() {
  const asked: { readonly ProtectionEnabled: boolean; readonly ExpiresInMinutes?: number }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (data) => {
      body += String(data);
    });
    request.on('end', () => {
      asked.push(JSON.parse(body));
      const { ProtectionEnabled } = JSON.parse(body);
      response.end(JSON.stringify({ protection: { ProtectionEnabled, TaskArn: 'arn' } }));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { asked, environment: { ECS_AGENT_URI: `http://127.0.0.1:${(server.address() as AddressInfo).port}/agent` } };
}

describe('protection from scale-in', () => {
  test('is asked for when work begins, renewed at half of its time, and given back when the work is over', async () => {
    const { asked, environment } = await agent();
    await using ground = new Playground();
    const over = Promise.withResolvers<void>();
    const job = ground.app.task('job', () => over.promise);
    const worker = await ground.work();
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const stop = protectFromScaleIn(worker, { environment, expiresInMinutes: 10 });
    /** Moves the clock, and waits for what was asked in it. */
    const pass = async (seconds: number, requests: number) => {
      vi.advanceTimersByTime(seconds * 1000);
      await until(() => asked.length >= requests);
      await new Promise((resolve) => setImmediate(resolve));
      expect(asked).toHaveLength(requests);
    };
    await pass(60, 0);
    const result = await job.delay();
    await until(() => worker.busy);
    await pass(1, 1);
    expect(asked).toEqual([{ ProtectionEnabled: true, ExpiresInMinutes: 10 }]);
    await pass(290, 1);
    await pass(15, 2);
    expect(asked[1]).toEqual({ ProtectionEnabled: true, ExpiresInMinutes: 10 });
    over.resolve();
    await result.get({ timeout: 10 });
    await until(() => !worker.busy);
    await pass(6, 3);
    expect(asked[2]).toEqual({ ProtectionEnabled: false });
    await pass(600, 3);
    await stop();
    expect(asked).toHaveLength(3);
  });

  test('is asked for at most every few seconds, however often work comes and goes', async () => {
    const { asked, environment } = await agent();
    await using ground = new Playground();
    const job = ground.app.task('job', () => new Promise<void>((resolve) => setTimeout(resolve, 5)));
    const worker = await ground.work();
    const stop = protectFromScaleIn(worker, { environment, everyMs: 1, gapMs: 60_000 });
    for (let i = 0; i < 20; i++) await (await job.delay()).get({ timeout: 10 });
    await until(() => asked.length === 1);
    await stop();
    // At the end it is given back all the same.
    expect(asked.map(({ ProtectionEnabled }) => ProtectionEnabled)).toEqual([true, false]);
  });

  test('elsewhere than on ECS nothing is asked; a time out of range is an error', async () => {
    await using ground = new Playground();
    const worker = await ground.work();
    await protectFromScaleIn(worker, { environment: {} })();
    for (const expiresInMinutes of [0, 2881, 1.5, Number.NaN])
      expect(() => protectFromScaleIn(worker, { environment: {}, expiresInMinutes })).toThrow('1 to 2880');
  });
});
