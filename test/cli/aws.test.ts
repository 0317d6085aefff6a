import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startAwsProxy } from '../support/aws-proxy.ts';
import { type DynamodbServer, startDynamodb } from '../support/dynamodb-server.ts';
import { type S3Server, startS3 } from '../support/s3-server.ts';
import { type SqsServer, startSqs } from '../support/sqs-server.ts';
import { Place } from './lovage.ts';

let sqs: SqsServer;
let dynamodb: DynamodbServer;
let s3: S3Server;
beforeAll(async () => {
  [sqs, dynamodb, s3] = await Promise.all([startSqs(), startDynamodb(), startS3()]);
});
afterAll(async () => {
  await sqs[Symbol.asyncDispose]();
  await dynamodb[Symbol.asyncDispose]();
  await s3[Symbol.asyncDispose]();
});

let number = 0;
let broker = '';
let backend = '';
beforeEach(() => {
  number += 1;
  broker = `${sqs.url}&queue_name_prefix=c${number}-`;
  backend = `dynamodb://test:test@localhost:${dynamodb.port}/celery${number}`;
});

/** What a worker has to do for it: renew, give up, join. */
const busyApp = `
import { chord, Lovage } from 'lovage';
export const app = new Lovage('shop');
const add = app.task('shop.add', (x: number, y: number) => x + y);
const sum = app.task('shop.sum', (all: number[]) => all.reduce((a, b) => a + b, 0));
app.task('shop.slow', { once: true }, () => new Promise<string>((go) => setTimeout(go, 2500, 'slow')));
app.task('shop.chord', async () => (await chord([add.s(1, 2), add.s(3, 4)], sum.s()).delay()).id);
`;

const app = `
import { Lovage } from 'lovage';
export const app = new Lovage('shop', { taskQueues: ['celery', 'mail'], taskRoutes: { 'img.*': { queue: 'images' } } });
app.task('shop.add', { queue: 'slow', timeLimit: 60 }, (x: number, y: number) => x + y);
`;

/** As `stores`, through proxies. */
const through = (queues: { readonly port: number }, table: { readonly port: number }, more = '') => [
  '-b',
  `${broker.replace(`:${sqs.port}/`, `:${queues.port}/`)}${more}`,
  '--result-backend',
  backend.replace(`:${dynamodb.port}/`, `:${table.port}/`),
];

const stores = () => ['-b', broker, '--result-backend', backend];
const names = () => ['celery', 'mail', 'images', 'slow'].map((queue) => `c${number}-${queue}`);

describe('lovage setup', () => {
  test('tells what is missing, creates it, and then finds nothing to do', async () => {
    const place = new Place();
    const file = place.write('app.ts', app);
    const setup = ['-A', file, 'setup', ...stores()];
    const dry = await place.run([...setup, '--dry-run', '--json']);
    const plan = JSON.parse(dry.stdout);
    expect(plan.steps.map(({ name, outcome }: { name: string; outcome: string }) => [name, outcome])).toEqual([
      ...names().flatMap((name) => [
        [`${name}-dead`, 'todo'],
        [name, 'todo'],
      ]),
      [`celery${number}`, 'todo'],
      [`celery${number}`, 'todo'],
    ]);
    expect((await place.run(['queues', ...stores()])).stdout).toBe('No queues yet.\n');
    const done = await place.run(setup);
    expect(done.status).toBe(0);
    expect(done.stdout).toMatch(/^dead-letter queue +c\d+-celery-dead +created +visibility timeout 120 s/m);
    expect(done.stdout).toContain(`dead letters to c${number}-celery-dead after 20 receives`);
    expect(done.stdout).toMatch(/^table +celery\d+ +created/m);
    expect(done.stdout).toContain('Did 10 steps.');
    const again = await place.run([...setup, '--json']);
    const states = JSON.parse(again.stdout).steps.map(({ state }: { state: string }) => state);
    // The stand-in for DynamoDB does not know how to remove old items.
    expect(states).toEqual([...names().flatMap(() => ['exists', 'exists']), 'exists', 'missing']);
    expect((await place.run(['queues', ...stores(), '-q'])).stdout).toContain('celery');
  });

  test('changes what differs, and leaves a redrive policy that somebody has chosen', async () => {
    const place = new Place();
    const setup = (more = '') => place.run(['setup', '-b', broker + more, '--result-backend', 'disabled']);
    await setup();
    const { stdout } = await setup('&visibility_timeout=300');
    expect(stdout).toMatch(/^queue +c\d+-celery +changed +visibility timeout 120 s -> 300$/m);
    expect((await setup('&visibility_timeout=300')).stdout).toContain('Nothing was to be done.');
  });

  test('creates a queue for each priority, with the dead letters of all in one', async () => {
    const place = new Place();
    const { stdout } = await place.run(['setup', '-b', `${broker}&priority_steps=0,5`, '--result-backend', 'disabled']);
    expect(stdout).toMatch(/^queue +c\d+-celery-p5 +created .*dead letters to c\d+-celery-dead/m);
    expect(stdout).toContain('Did 3 steps.');
  });

  test('creates the bucket of an S3 result backend, and its rule', async () => {
    const place = new Place();
    const url = `s3://test:test@bucket${number}?endpoint_url=${encodeURIComponent(s3.endpoint)}&region=us-east-1`;
    const { stdout, status } = await place.run(['setup', '-b', broker, '--result-backend', url]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^bucket +bucket\d+ +created$/m);
    expect(stdout).toMatch(/^lifecycle rule +lovage: .* created +removes objects after \d+ days$/m);
  });

  test('creates the table of a payload store, and `iam` allows it', async () => {
    const place = new Place();
    const table = `dynamodb://test:test@localhost:${dynamodb.port}/payloads${number}`;
    const file = place.write(
      'app.ts',
      `import { Lovage } from 'lovage';
       export const app = new Lovage('shop', { brokerTransportOptions: { payloadStore: '${table}' } });`,
    );
    const line = (...words: string[]) =>
      place.run(['-A', file, ...words, '-b', broker, '--result-backend', 'disabled']);
    expect((await line('setup')).stdout).toMatch(/^table +payloads\d+ +created/m);
    const { stdout } = await line('iam', '--role', 'worker', '--account', '123456789012');
    expect(stdout).toMatch(/"arn:aws:dynamodb:[\w-]+:123456789012:table\/payloads\d+"/);
  });

  test('takes the settings of the well-known move from Redis as they are, and texts of the environment', async () => {
    const page = readFileSync(new URL('../../docs/from-redis-to-sqs.md', import.meta.url), 'utf8');
    const [, code = ''] = /```ts\n(.*?)```/s.exec(page) ?? [];
    const place = new Place();
    const setup = ['-A', place.write('app.ts', code), 'setup', '--dry-run', '-b', sqs.url, '--result-backend', backend];
    const env = { AWS_SQS_VISIBILITY_TIMEOUT: '600', AWS_SQS_POLLING_INTERVAL: '1', AWS_SQS_WAIT_TIME_SECONDS: '15' };
    expect((await place.run(setup)).stdout).toMatch(
      /^queue +hoge-celery +would be created +visibility timeout 3600 s;/m,
    );
    expect((await place.run(setup, { ...env, AWS_SQS_QUEUE_NAME_PREFIX: 'fuga-' })).stdout).toMatch(
      /^queue +fuga-celery +would be created +visibility timeout 600 s;/m,
    );
    const { status, stderr } = await place.run(setup, { AWS_SQS_VISIBILITY_TIMEOUT: 'an hour' });
    expect(status).toBe(2);
    expect(stderr).toMatch(/'visibilityTimeout' .*expected a whole number from 1 to 43200, got "an hour"/);
  });

  test('says that SQLite needs nothing', async () => {
    const place = new Place();
    expect(await place.run(['setup'])).toMatchObject({
      status: 0,
      stdout: `Nothing needs to be created for ${place.broker}.\n`,
    });
  });
});

describe('lovage iam', () => {
  test.each(['producer', 'worker', 'setup'])(
    'prints what a %s needs, on these resources and no others',
    async (role) => {
      const place = new Place();
      const file = place.write('app.ts', app);
      const { stdout, status } = await place.run([
        '-A',
        file,
        'iam',
        '--role',
        role,
        '--account',
        '123456789012',
        ...stores(),
      ]);
      expect(status).toBe(0);
      const policy = JSON.parse(stdout);
      expect(Object.keys(policy)).toEqual(['Version', 'Statement']);
      expect(policy.Version).toBe('2012-10-17');
      const resources: string[] = policy.Statement.flatMap(({ Resource }: { Resource: string[] }) => Resource);
      for (const resource of resources) {
        expect(resource).toMatch(
          /^arn:aws:(sqs:us-east-1:123456789012:c\d+-[a-z-]+|dynamodb:.*:123456789012:table\/celery\d+)$/,
        );
      }
      const actionsOn = (resource: string) =>
        policy.Statement.filter(({ Resource }: { Resource: string[] }) => Resource.includes(resource)).flatMap(
          ({ Action }: { Action: string[] }) => Action,
        );
      for (const name of names()) {
        const actions = actionsOn(`arn:aws:sqs:us-east-1:123456789012:${name}`);
        expect(actions.includes('sqs:SendMessage')).toBe(role !== 'setup');
        expect(actions.includes('sqs:ReceiveMessage')).toBe(role === 'worker');
        expect(actions.includes('sqs:CreateQueue')).toBe(role === 'setup');
      }
      const ids = policy.Statement.map(({ Sid }: { Sid: string }) => Sid);
      expect(new Set(ids).size).toBe(ids.length);
      for (const { Sid, Effect } of policy.Statement)
        expect([/^[A-Za-z0-9]+$/.test(Sid), Effect]).toEqual([true, 'Allow']);
    },
  );

  test('learns the account from a queue that is there, and asks for it where there is none', async () => {
    const place = new Place();
    const iam = ['iam', '--role', 'producer', '-b', broker, '--result-backend', 'disabled'];
    const { status, stderr } = await place.run(iam);
    expect(status).toBe(2);
    expect(stderr).toContain('say it with --account');
    await place.run(['setup', '-b', broker, '--result-backend', 'disabled']);
    expect((await place.run(iam)).stdout).toContain(`"arn:aws:sqs:us-east-1:000000000000:c${number}-celery"`);
  });

  test('allows all that a set-up, a sender and a worker ask for, and of SQS nothing else', async () => {
    await using queues = await startAwsProxy(sqs.port);
    await using table = await startAwsProxy(dynamodb.port);
    const place = new Place();
    const file = place.write('app.ts', busyApp);
    const lovage = (...words: string[]) => ['-A', file, ...words];
    const watched = through(queues, table, '&visibility_timeout=2');
    /** What was asked for since the last look. */
    const asked = () => {
      const own = [...queues.counts.keys()].map((action) => `sqs:${action.replace(/Batch$/, '')}`);
      const actions = [...own, ...[...table.counts.keys()].map((action) => `dynamodb:${action}`)];
      queues.reset();
      table.reset();
      return actions.toSorted();
    };
    const allowed = async (role: string) => {
      const line = lovage('iam', '--role', role, '--account', '123456789012', ...stores());
      const { Statement } = JSON.parse((await place.run(line)).stdout);
      return [...new Set<string>(Statement.flatMap(({ Action }: { Action: string[] }) => Action))].toSorted();
    };
    const ofSqs = (actions: readonly string[]) => actions.filter((action) => action.startsWith('sqs:'));

    for (let i = 0; i < 2; i++) await place.run(lovage('setup', ...watched));
    expect(asked()).toEqual(await allowed('setup'));

    const sender = await place.run(lovage('call', 'shop.add', '--args', '[1, 2]', ...watched));
    expect(sender.status).toBe(0);
    expect(asked()).toEqual(ofSqs(await allowed('producer')));

    const worker = place.start(lovage('worker', ...watched));
    await worker.says('ready.');
    const call = (name: string) => place.run(lovage('call', name, '--wait', '--timeout', '20', ...stores()));
    // Longer than its lease; unknown, a dead letter; and a chord.
    expect((await call('shop.slow')).stdout).toBe('"slow"\n');
    expect((await call('shop.gone')).status).toBe(1);
    const { stdout } = await call('shop.chord');
    const body = await place.run(lovage('result', JSON.parse(stdout), '--wait', '--timeout', '20', ...stores()));
    expect(body.stdout).toBe('SUCCESS\n10\n');
    worker.process.kill('SIGTERM');
    expect((await worker.end()).status).toBe(0);
    const [used, may] = [asked(), await allowed('worker')];
    expect(ofSqs(used)).toEqual(ofSqs(may));
    expect(used.filter((action) => !may.includes(action))).toEqual([]);
    expect(used).toEqual(expect.arrayContaining(['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem']));
  }, 90_000);

  test('of SQLite is none', async () => {
    const place = new Place();
    expect((await place.run(['iam', '--role', 'worker'])).stdout).toContain('no permissions of AWS are needed');
    expect((await place.run(['iam', '--role', 'worker', '--json'])).stdout).toBe('null\n');
  });

  test.each([
    [['iam'], /--role/],
    [['iam', '--role', 'admin'], /producer, worker, setup/],
    [['iam', '--role', 'worker', '--account', '12'], /12 digits/],
  ])('refuses %j', async (args, message) => {
    const { status, stderr } = await new Place().run(args);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });
});

describe('lovage doctor', () => {
  test('finds what is missing on AWS, and after a setup that all is well, with what it costs', async () => {
    const place = new Place();
    const missing = await place.run(['doctor', ...stores()]);
    expect(missing.status).toBe(1);
    expect(missing.stdout).toMatch(/^problem +queue c\d+-celery +not there \(run `lovage setup`/m);
    expect(missing.stdout).toMatch(/^problem +table celery\d+ +not there/m);
    await place.run(['setup', ...stores()]);
    const { status, stdout } = await place.run(['doctor', ...stores(), '--tasks', '1000000', '--json']);
    expect(status).toBe(0);
    const { healthy, costs, stores: found } = JSON.parse(stdout);
    expect(healthy).toBe(true);
    const verdicts = found.flatMap(({ checks }: { checks: { verdict: string }[] }) => checks.map((one) => one.verdict));
    expect(verdicts).not.toContain('problem');
    const [requests] = costs;
    // Three requests a task, or a tenth of it in full batches; an idle worker asks every 20 seconds, and counts once a minute.
    expect(requests).toMatchObject({ price: 'sqs.standard', idle: 175_200, units: [475_200, 3_175_200] });
    expect(requests.dollars[1]).toBeCloseTo((2_175_200 / 1e6) * 0.4);
    expect((await place.run(['queues', ...stores()])).stdout).toMatch(/^celery +0 +0 +0 +0$/m);
  });

  test('names each permission that is missing: on a queue, on its dead letters, on the table', async () => {
    await using queues = await startAwsProxy(sqs.port);
    await using table = await startAwsProxy(dynamodb.port);
    const place = new Place();
    await place.run(['setup', ...stores()]);
    queues.fail('SendMessageBatch', { error: 'AccessDeniedException', message: 'no' });
    table.fail('UpdateItem', { error: 'AccessDeniedException', message: 'no' });
    const { status, stdout } = await place.run(['doctor', ...through(queues, table)]);
    expect(status).toBe(1);
    const on = (what: string) =>
      new RegExp(`^problem +${what}: permissions +access denied: (\\S+)`, 'm').exec(stdout)?.[1];
    const queue = `queue c${number}-celery`;
    expect([on(queue), on(`${queue}: dead letters`), on(`table celery${number}`)]).toEqual([
      'sqs:SendMessage',
      'sqs:SendMessage',
      'dynamodb:UpdateItem',
    ]);
    table.heal();
    queues.heal();
    const well = (await place.run(['doctor', ...through(queues, table)])).stdout;
    expect(well).toMatch(
      /^ok +table celery\d+: permissions +get, get many, put, update, delete, write many: not refused/m,
    );
    // Nothing was sent or written to find out.
    expect((await place.run(['queues', ...stores()])).stdout).toMatch(/^celery +0 +0 +0 +0$/m);
  });

  test('looks at the stores of large messages and of large results, too', async () => {
    const bucket = (name: string) =>
      `s3://test:test@${name}${number}/large?endpoint_url=${encodeURIComponent(s3.endpoint)}&region=us-east-1`;
    const place = new Place();
    const file = place.write(
      'app.ts',
      `import { Lovage } from 'lovage';
       export const app = new Lovage('shop', {
         brokerTransportOptions: { payloadStore: '${bucket('payloads')}' },
         resultBackendTransportOptions: { largeResults: '${bucket('results')}' },
       });`,
    );
    const line = (command: string) => place.run(['-A', file, command, ...stores()]);
    await place.run(['setup', ...stores()]);
    const missing = await line('doctor');
    expect(missing.status).toBe(1);
    for (const name of ['payloads', 'results'])
      expect(missing.stdout).toMatch(new RegExp(`^problem +bucket ${name}\\d+ +not there`, 'm'));
    await line('setup');
    const { stdout, status } = await line('doctor');
    expect(status).toBe(0);
    for (const name of ['payloads', 'results'])
      expect(stdout).toMatch(new RegExp(`^ok +bucket ${name}\\d+: permissions +get, list, put: not refused`, 'm'));
  });

  test('takes prices from a file', async () => {
    const place = new Place();
    const prices = place.write('prices.json', '{ "region": "here", "items": { "sqs.standard": { "dollars": 40 } } }');
    await place.run(['setup', ...stores()]);
    const args = ['doctor', ...stores(), '--tasks', '1000000', '--workers', '0', '--prices', prices];
    expect((await place.run(args)).stdout).toMatch(/300,000 - 3,000,000 +0 +0\.00 - 80\.00$/m);
  });

  test('tells where SQLite and its dead letters are', async () => {
    const place = new Place();
    const { status, stdout } = await place.run(['doctor']);
    expect(status).toBe(0);
    expect(stdout).toContain(`${join(place.folder, 'tasks.db')}, `);
    expect(stdout).toMatch(/^ok +dead letters +none$/m);
    expect(stdout).toContain('All is well.');
    expect(stdout).not.toContain('\u001b');
  });

  test('paints on a terminal', async () => {
    expect((await new Place().run(['doctor'], { FORCE_COLOR: '1' })).stdout).toContain('\u001b[32mok');
  });

  test('a store that is not there is a problem, exit status 1', async () => {
    const { status, stdout } = await new Place().run([
      'doctor',
      '-b',
      'redis://127.0.0.1:1/0?socket_connect_timeout=1',
    ]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^problem +reachable +no connection to redis:/m);
  });
});
