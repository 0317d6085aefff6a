/** What the monitor counts and scales elsewhere than on ECS: by a script, and on what stands for Heroku. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Lovage } from '../../src/index.ts';
import { Place } from '../cli/lovage.ts';
import { quiet } from '../support/in-memory.ts';
import { until } from '../support/workplace.ts';

/** A folder with a store, the command line in it, and a client. */
function start() {
  const place = new Place();
  const app = new Lovage('client', { broker: place.broker, logger: quiet });
  onTestFinished(() => app.close());
  return { place, app };
}

describe('providers', () => {
  test('command: a script counts and scales; it leaves zero at once, and goes to zero when nothing waits or runs', async () => {
    const { app, place } = start();
    const file = join(place.folder, 'count');
    place.write(
      'scale.sh',
      `read -r request; [ "$LOVAGE_ACTION" = scale ] && echo "$LOVAGE_COUNT" > count; echo "$request" >> requests; echo "{\\"running\\": $(cat count)}"`,
    );
    place.write('count', '0');
    const count = () => readFileSync(file, 'utf8').trim();
    const policy = [
      '--max',
      '5',
      '--target',
      '10',
      '--scale-out-cooldown',
      '0',
      '--scale-in-cooldown',
      '1',
      '--scale-in-after',
      '2',
      '--interval',
      '1',
    ];
    const ids = await Promise.all(Array.from({ length: 35 }, () => app.sendTask('x', [], { queue: 'mail' })));
    expect(ids).toHaveLength(35);
    const running = place.start([
      'autoscale',
      'monitor',
      '--queue',
      'mail',
      '--provider',
      'command',
      '--command',
      'sh scale.sh',
      ...policy,
    ]);
    await until(() => count() === '4');
    const consumer = await (await app.broker()).consume(['mail']);
    const held = await consumer.receive(35, 1_000, new AbortController().signal);
    await consumer.ackMany(held.slice(1));
    // One still runs: it is not left alone.
    await until(() => count() === '1');
    await consumer.ackMany(held.slice(0, 1));
    await until(() => count() === '0');
    await consumer.close();
    running.process.kill('SIGTERM');
    expect((await running.end()).status).toBe(0);
    expect(readFileSync(join(place.folder, 'requests'), 'utf8')).toContain('{"action":"scale","count":4}');
  });

  test('command: a script that fails, hangs or says nonsense is told of, and does no harm', async () => {
    const { place } = start();
    const look = (command: string, ...more: string[]) =>
      place.run([
        'autoscale',
        'monitor',
        '--queue',
        'mail',
        '--provider',
        'command',
        '--command',
        command,
        '--once',
        ...more,
      ]);
    expect((await look('echo oops >&2; exit 3')).stderr).toContain('ended with 3: oops');
    expect((await look('echo hello')).stderr).toContain('expected it to print {"running": 2, "pending": 0}');
    expect((await look(`echo '{"running": -1}'`)).stderr).toContain('expected it to print');
    const { status, stderr } = await look('sleep 600', '--interval', '1');
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining('did not end in time, and was killed'),
    });
  });

  test('heroku: dynos are counted and scaled by the Platform API, and the token is never shown', async () => {
    const { app, place } = start();
    const asked: string[] = [];
    const formation = { quantity: 1 };
    let isAllowed = true;
    const heroku = createServer((request, response) => {
      let body = '';
      request.on('data', (data) => {
        body += String(data);
      });
      request.on('end', () => {
        asked.push(`${request.method} ${request.url} ${body}`);
        const isRight =
          request.headers.authorization === 'Bearer s3cret' &&
          request.headers.accept === 'application/vnd.heroku+json; version=3';
        const answer = (status: number, value: object) => {
          response.writeHead(status, { 'content-type': 'application/json' });
          response.end(JSON.stringify(value));
        };
        if (!isRight || !isAllowed)
          return answer(401, { id: 'unauthorized', message: 'Invalid credentials provided.' });
        if (request.url === '/apps/shop/dynos')
          return answer(200, [
            { type: 'worker', state: 'up' },
            { type: 'web', state: 'up' },
          ]);
        if (request.url !== '/apps/shop/formation/worker')
          return answer(404, { id: 'not_found', message: "Couldn't find that formation." });
        if (request.method === 'PATCH') Object.assign(formation, JSON.parse(body));
        answer(200, { type: 'worker', ...formation });
      });
    }).listen(0, '127.0.0.1');
    await once(heroku, 'listening');
    onTestFinished(() => void heroku.close());
    const env = {
      HEROKU_API_KEY: 's3cret',
      HEROKU_API_URL: `http://127.0.0.1:${(heroku.address() as AddressInfo).port}`,
    };
    for (let i = 0; i < 25; i++) await app.sendTask('x', [], { queue: 'mail' });
    const line = ['autoscale', 'monitor', '--queue', 'mail', '--provider', 'heroku', '--heroku-app', 'shop', '--once'];
    const scaled = await place.run([...line, '--max', '10', '--target', '10'], env);
    expect(scaled.status).toBe(0);
    expect(asked).toContain('PATCH /apps/shop/formation/worker {"quantity":3}');
    const none = await place.run([...line, '--process-type', 'mailer'], env);
    expect(none.stderr).toContain(
      "error STORE_MISSING: heroku shop/mailer does not exist: Couldn't find that formation.",
    );
    isAllowed = false;
    const refused = await place.run(line, env);
    expect(refused.stderr).toContain('STORE_ACCESS');
    for (const { stdout, stderr } of [scaled, none, refused]) expect(stdout + stderr).not.toContain('s3cret');
  });
});
