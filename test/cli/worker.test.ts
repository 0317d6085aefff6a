import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import { refusedWorkerOptions } from '../../src/cli/commands/worker.ts';
import { missingCommands } from '../../src/cli/program.ts';
import { appFile, Place } from './lovage.ts';

describe('lovage worker', () => {
  test('says who it is, then that it is ready; SIGTERM ends it with status 0', async () => {
    const place = new Place();
    const worker = await place.worker('-c', '3', '-n', 'herb@%h');
    for (const line of [
      `herb@${hostname()}`,
      'shop (',
      place.broker,
      /concurrency +3 \(async\)/,
      /queues +celery/,
      '[tasks]\n  . shop.add\n',
      `Node ${process.version}`,
      `pid ${worker.process.pid}`,
      `herb@${hostname()} ready.`,
    ]) {
      expect(worker.stdout).toMatch(line);
    }
    worker.process.kill('SIGTERM');
    const { status, stderr } = await worker.end();
    expect(status).toBe(0);
    expect(stderr).toMatch(/is stopping.*\n.*stopped {2}received=0/);
  });

  test('--autoscale sets how many tasks run at once between two numbers', async () => {
    const worker = await new Place().worker('--autoscale', '10,3');
    expect(worker.stdout).toMatch(/concurrency +3 to 10 \(async\)/);
    worker.process.kill('SIGTERM');
    expect((await worker.end()).status).toBe(0);
  });

  test('runs tasks; a call waits for their results', async () => {
    const place = new Place();
    const worker = await place.worker();
    const sum = await place.run(['call', 'shop.add', '-a', '[2, 3]', '--wait', '--timeout', '15']);
    expect(sum).toEqual({ status: 0, stdout: '5\n', stderr: '' });
    const failure = await place.run(['call', 'shop.fail', '-a', '["soap"]', '--wait']);
    expect(failure.status).toBe(1);
    expect(failure.stdout).toMatch(/^RangeError: no soap left\n\n[\s\S]*fixtures\/app\.ts:\d+/);
    worker.process.kill('SIGINT');
    expect((await worker.end()).status).toBe(0);
  });

  test('SIGTERM lets a running task end within the grace time, then aborts it: status 1', async () => {
    const place = new Place();
    const worker = await place.worker('--shutdown-timeout', '0.1');
    await place.run(['call', 'shop.linger']);
    await worker.says('lingering');
    worker.process.kill('SIGTERM');
    const { status, stderr } = await worker.end();
    expect(status).toBe(1);
    expect(stderr).toMatch(/the time is up, 1 task \(shop\.linger\[.*\) is aborted and given back/);
    const [queue] = JSON.parse((await place.run(['queues', '--json'])).stdout);
    expect(queue).toMatchObject({ queue: 'celery', ready: 1, inFlight: 0 });
  });

  test('a task that will not stop keeps nobody', async () => {
    const place = new Place();
    const worker = await place.worker('--shutdown-timeout', '600');
    await place.run(['call', 'shop.stubborn']);
    await worker.says('not stopping');
    worker.process.kill('SIGTERM');
    await worker.says('is stopping');
    worker.process.kill('SIGQUIT');
    expect((await worker.end()).status).toBe(1);
    const [queue] = JSON.parse((await place.run(['queues', '--json'])).stdout);
    expect(queue).toMatchObject({ ready: 1, inFlight: 0 });
  });

  test('--json writes log lines on stdout and nothing else', async () => {
    const place = new Place();
    const worker = await place.worker('--json', '-Q', 'celery,mail', '-X', 'mail');
    await place.run(['call', 'shop.add', '-a', '[1, 1]', '--wait']);
    worker.process.kill('SIGTERM');
    const { stdout, stderr } = await worker.end();
    expect(stderr).toBe('');
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({
      level: 'info',
      msg: 'starting',
      app: 'shop',
      queues: ['celery'],
      broker: place.broker,
    });
    expect(lines.map(({ msg }) => msg)).toContainEqual(expect.stringMatching(/^Task shop\.add\[.*\] succeeded$/));
    expect(lines.at(-1)).toMatchObject({ msg: expect.stringContaining('stopped'), succeeded: 1 });
  });

  test('--quiet leaves the banner out', async () => {
    const worker = new Place().start(['-q', '-A', appFile, 'worker', '-l', 'info', '--purge']);
    await worker.says('Purged 0 messages');
    worker.process.kill('SIGTERM');
    expect((await worker.end()).stdout).toBe('');
  });

  test('--purge drops what waits, first', async () => {
    const place = new Place();
    await place.run(['call', 'shop.fail', '-a', '["soap"]']);
    const worker = await place.worker('--purge');
    worker.process.kill('SIGTERM');
    expect((await worker.end()).stderr).toMatch(/Purged 1 message[\s\S]*received=0/);
  });

  test('keeps the logger of the app, unless -l or --json is given', async () => {
    const place = new Place();
    const file = place.write(
      'app.ts',
      `import { Lovage } from 'lovage';
       const say = (_fields: object, message: string) => console.error('own: ' + message);
       export default new Lovage('own', { logger: { debug: say, info: say, warn: say, error: say } });`,
    );
    for (const [args, own] of [
      [[], true],
      [['-l', 'info'], false],
    ] as const) {
      const worker = place.start(['worker', '-A', file, ...args]);
      await worker.says('ready.');
      worker.process.kill('SIGTERM');
      expect((await worker.end()).stderr.includes('own: ')).toBe(own);
    }
  });

  test.each(['threads', 'processes'])(
    'an app that throws in %s only: the worker does not start, and says why',
    async (pool) => {
      const place = new Place();
      const file = place.write(
        'app.ts',
        `import { Lovage } from 'lovage';
       export default new Lovage('own');
       if (Symbol.for('lovage.pool-child') in globalThis) throw new Error('no licence in children');`,
      );
      const { status, stderr } = await place.run(['-A', file, 'worker', '-P', pool, '-c', '2']);
      expect(status).toBe(2);
      expect(stderr).toMatch(
        /error CONFIG: A child of the pool of \w+.*could not start: .*\n\nError: no licence in children\n/,
      );
    },
  );

  test('a signal while its threads and processes start ends it: status 0', async () => {
    const place = new Place();
    const file = place.write(
      'app.ts',
      `import { Lovage } from 'lovage';
       export default new Lovage('own');
       if (Symbol.for('lovage.pool-child') in globalThis) {
         console.log('child loads');
         await new Promise((resolve) => setTimeout(resolve, 2_000));
       }`,
    );
    const worker = place.start(['-A', file, 'worker', '-P', 'processes', '-c', '2']);
    await worker.says('child loads');
    worker.process.kill('SIGTERM');
    const { status, stderr } = await worker.end();
    expect(stderr).toContain('is stopping: warm shutdown (SIGTERM)');
    expect(status).toBe(0);
  });

  test('needs an app', async () => {
    const { status, stderr } = await new Place().run(['worker']);
    expect(status).toBe(2);
    expect(stderr).toBe(
      'error CONFIG: a worker needs the tasks of an app: lovage -A ./src/app.ts worker (or set LOVAGE_APP)\n',
    );
  });

  test.each([
    [['-c', '0'], /-c, --concurrency <n>.*Expected a whole number from 1 to 100000/],
    [['-c', '-1'], /-c, --concurrency <n>.*Expected a whole number from 1 to 100000/],
    [['-c', 'NaN'], /-c, --concurrency <n>.*Expected a whole number from 1 to 100000/],
    [
      ['--autoscale', '3,10'],
      /--autoscale <max,min>.*Expected max,min: two whole numbers from 1 up, the larger one first/,
    ],
    [['--autoscale', 'many'], /--autoscale <max,min>.*Expected max,min/],
    [['--autoscale', '10,0'], /--autoscale <max,min>.*Expected max,min/],
    [['--autoscale', '3,1', '-c', '2'], /both concurrency 2 and autoscale 3,1/],
    [['--time-limit', '5', '--soft-time-limit', '5'], /softTimeLimit to be below timeLimit, got 5 s and 5 s; give/],
    [['--time-limit', '-1'], /--time-limit <seconds>.*Expected a number of seconds from 0 up/],
    [['-P', 'prefork'], /--pool <pool>.*Allowed choices are async/],
    [['-l', 'chatty'], /--loglevel.*Allowed choices are error, warning, info, debug/],
    [['--concurency', '3'], /unknown option '--concurency'\n\(Did you mean --concurrency\?\)/],
    [['-Q', 'a', '-X', 'a'], /at least one queue/],
  ])('refuses %j', async (args, message) => {
    const { status, stdout, stderr } = await new Place().run(['-A', appFile, 'worker', ...args]);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error CONFIG: /);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('    at ');
  });

  test('takes what Celery calls the way it is', async () => {
    const worker = await new Place().worker(
      '--without-gossip',
      '--without-mingle',
      '--without-heartbeat',
      '-O',
      'fair',
    );
    worker.process.kill('SIGTERM');
    expect((await worker.end()).status).toBe(0);
  });
});

describe('what Celery has and this version has not', () => {
  test.each(['-B, --beat', '--pidfile <file>', '-E, --task-events'] as const)('worker %s', async (flags) => {
    const [option = ''] = flags.split(/,? /);
    const { status, stderr } = await new Place().run(['worker', option, ...(flags.includes('<') ? ['3,1'] : [])]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^error NOT_SUPPORTED: .*\n$/);
    expect(stderr).toContain(refusedWorkerOptions[flags]);
  });

  test('commands', async () => {
    const { status, stderr } = await new Place().run(['beat', '-l', 'info']);
    expect(status).toBe(2);
    expect(stderr).toBe(`error NOT_SUPPORTED: Celery's command beat is not in this version: ${missingCommands.beat}\n`);
  });
});
