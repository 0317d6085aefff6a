import { describe, expect, test } from 'vitest';
import { version } from '../../src/cli/version.ts';
import { appFile, Place } from './lovage.ts';

describe('lovage report', () => {
  test('says what somebody who helps wants to know', async () => {
    const place = new Place();
    await place.run(['call', 'shop.add', '-a', '[1, 2]']);
    const { status, stdout } = await place.run(['report', '-A', appFile], { LOVAGE_BROKER: place.broker });
    expect(status).toBe(0);
    for (const line of [
      `lovage    ${version}`,
      `node      ${process.version}`,
      'name    shop',
      `broker  "${place.broker}"  (LOVAGE_BROKER)`,
      /leaseMs +30000/,
      /joins +true/,
      /celery +1 +0 +0 +0/,
      '  shop.add\n',
    ]) {
      expect(stdout).toMatch(line);
    }
  });

  test('masks secrets, in text and in JSON, also of stores that cannot be opened', async () => {
    const place = new Place();
    const file = place.write(
      'app.ts',
      `import { Lovage } from 'lovage';
       export default new Lovage('own', {
         broker: 'nosuch://user:hunter2@db/0?secretKey=hunter2',
         backend: 'nosuch://:hunter2@db/1',
         brokerTransportOptions: { password: 'hunter2', ca: { clientKey: 'hunter2' } },
         workerConcurrency: 3,
       });`,
    );
    for (const format of [[], ['--json']]) {
      const { status, stdout, stderr } = await place.run(['report', '-A', file, ...format]);
      expect(status).toBe(1);
      expect(stdout + stderr).not.toContain('hunter2');
      expect(stdout).toContain('nosuch://user:**@db/0?secretKey=**');
    }
    const { config, error } = JSON.parse((await place.run(['report', '-A', file, '--json'])).stdout);
    expect(config).toMatchObject({
      workerConcurrency: { value: 3, from: 'app' },
      brokerTransportOptions: { value: { password: '**', ca: { clientKey: '**' } } },
    });
    expect(error).toMatch(/there is no broker for 'nosuch:\/\/user:\*\*@db/);
    const onLine = JSON.parse((await place.run(['report', '--json', '-b', 'sqlite:other.db'])).stdout);
    expect(onLine.config.broker).toEqual({ value: 'sqlite:other.db', from: 'command line' });
  });
});
