import { describe, expect, test } from 'vitest';
import { appFile, Place } from './lovage.ts';

const uuid = /^[0-9a-f-]{36}\n$/;

describe('lovage call', () => {
  test('needs neither an app nor a worker; prints the id', async () => {
    const place = new Place();
    const { status, stdout } = await place.run([
      'call',
      'other.task',
      '--queue',
      'mail',
      '--priority',
      '3',
      '--countdown',
      '60',
    ]);
    expect(status).toBe(0);
    expect(stdout).toMatch(uuid);
    const queues = JSON.parse((await place.run(['--json', 'queues'])).stdout);
    expect(queues).toEqual([{ queue: 'mail', ready: 0, inFlight: 0, delayed: 1, dead: 0 }]);
  });

  test('--json prints the id, or with --wait the outcome', async () => {
    const place = new Place();
    expect(JSON.parse((await place.run(['call', 'other.task', '--json'])).stdout)).toEqual({ id: expect.any(String) });
    const worker = await place.worker();
    const sum = await place.run(['call', 'shop.add', '--args=[2,3]', '--wait', '--json']);
    expect(JSON.parse(sum.stdout)).toEqual({ id: expect.any(String), state: 'SUCCESS', result: 5 });
    const failure = await place.run(['call', 'shop.fail', '-a', '["soap"]', '--wait', '--json']);
    expect(failure.status).toBe(1);
    expect(JSON.parse(failure.stdout)).toMatchObject({
      state: 'FAILURE',
      error: { type: 'RangeError', message: 'no soap left' },
      traceback: expect.stringContaining('app.ts'),
    });
    worker.process.kill();
  });

  test('keyword arguments, large integers and NaN pass', async () => {
    const place = new Place();
    await place.worker();
    const call = (...args: string[]) => place.run(['call', 'shop.echo', '--wait', ...args]);
    expect((await call('-k', '{"value": [9007199254740993, NaN, null]}')).stdout).toBe('[9007199254740993,NaN,null]\n');
    const strict = JSON.parse((await call('-a', '[[9007199254740993, NaN]]', '--json')).stdout);
    expect(strict.result).toEqual([9007199254740992, 'NaN']);
  });

  test('--timeout gives up waiting with status 1', async () => {
    const { status, stdout, stderr } = await new Place().run(['call', 'x', '--wait', '--timeout', '0.1']);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/^error TIMEOUT: task .* has not finished within 0\.1 s/);
  });

  test('-b wins over what the app says, before and after the command', async () => {
    const place = new Place();
    const file = place.write(
      'app.ts',
      `import { Lovage } from 'lovage'; export default new Lovage('own', { broker: 'sqlite:own.db' });`,
    );
    for (const args of [
      ['-b', 'sqlite:b.db', 'call', 'x'],
      ['call', 'x', '--broker', 'sqlite:b.db'],
    ]) {
      expect((await place.run([...args, '-A', file])).status).toBe(0);
    }
    const count = async (...args: string[]) =>
      JSON.parse((await place.run(['queues', '--json', ...args])).stdout)[0]?.ready ?? 0;
    expect(await count('-A', file)).toBe(0);
    expect(await count('-A', file, '-b', 'sqlite:b.db')).toBe(2);
  });

  test('--result-backend disabled keeps no results', async () => {
    const { status, stderr } = await new Place().run(['call', 'x', '--wait', '--result-backend', 'disabled']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^error CONFIG: this application keeps no results/);
  });

  test('LOVAGE_APP names the app; a task it does not have is sent with a note', async () => {
    const { status, stdout, stderr } = await new Place().run(['call', 'shop.ad'], { LOVAGE_APP: appFile });
    expect(status).toBe(0);
    expect(stdout).toMatch(uuid);
    expect(stderr).toContain("has no task 'shop.ad'; did you mean 'shop.add'?");
  });

  test('--workdir is where relative paths start', async () => {
    const place = new Place();
    place.write('app.ts', `import { Lovage } from 'lovage'; export default new Lovage('own');`);
    const { status, stdout } = await place.run(['--workdir', place.folder, '-A', 'app.ts', 'report', '--json']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout).app).toMatchObject({ name: 'own', file: 'app.ts' });
    expect((await place.run(['--workdir', 'nowhere', 'queues'])).stderr).toMatch(
      /^error CONFIG: --workdir nowhere: ENOENT/,
    );
  });

  test.each([
    [['-a', '2, 3'], "option --args: expected a JSON list, such as --args '[2, 3]', got 2, 3"],
    [['-a', '{"x": 1}'], `option --args: expected a JSON list, such as --args '[2, 3]', got {"x": 1}`],
    [['-k', '[1]'], `option --kwargs: expected a JSON object, such as --kwargs '{"x": 2}', got [1]`],
    [['--eta', 'tomorrow'], 'Expected an ISO time such as 2031-01-02T03:04:05Z.'],
    [['--expires', 'soon'], 'Expected seconds from now, such as 60, or an ISO time such as 2031-01-02T03:04:05Z.'],
    [['--countdown', '1', '--eta', '2031-01-02'], 'give either countdown or eta, not both'],
    [['--priority', '10'], 'Expected a whole number from 0 to 9.'],
    [['--serializer', 'pickle'], 'Allowed choices are json, msgpack, yaml.'],
    [['--timeout', '3'], '--timeout is for --wait'],
    [['-b', 'sqllite:x.db'], "did you mean 'sqlite://'?"],
  ])('refuses %j', async (args, message) => {
    const { status, stdout, stderr } = await new Place().run(['call', 'x', ...args]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^error CONFIG: /);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
  });
});
