import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Certificate } from '../support/certificate.ts';
import { freePort, type RedisServer, startRedis } from '../support/redis-server.ts';
import { until } from '../support/workplace.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'lovage-heroku-'));
const project = join(folder, 'heroku');
/** `node` is the one that runs the tests. */
const path = `${dirname(process.execPath)}:${process.env.PATH}`;
/** From SIGTERM to SIGKILL. */
const herokuMs = 10_000;
const text = 'to be or not to be that is the question '.repeat(30);
let redis: RedisServer;
let port: number;

beforeAll(async () => {
  const pack = join(folder, 'lovage');
  mkdirSync(pack);
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', join(pack, 'dist')]);
  cpSync(join(root, 'package.json'), join(pack, 'package.json'));
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: pack });
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const isSource = (file: string) => !['node_modules', 'package-lock.json', '.env'].includes(basename(file));
  cpSync(join(root, 'examples', 'heroku'), project, { recursive: true, filter: isSource });
  const manifest = readFileSync(join(project, 'package.json'), 'utf8');
  writeFileSync(join(project, 'package.json'), manifest.replace('file:../..', `file:../lovage-${version}.tgz`));
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline'], { cwd: project });
  redis = await startRedis();
  port = await freePort();
  // As `cp .env.example .env`, with the places of this test.
  const env = readFileSync(join(project, '.env.example'), 'utf8');
  expect(env).toBe('REDIS_URL=redis://localhost:6379/0\nPORT=5000\n');
  writeFileSync(
    join(project, '.env'),
    env.replace('localhost:6379', `127.0.0.1:${redis.port}`).replace('5000', `${port}`),
  );
}, 180_000);

afterAll(async () => {
  await redis?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** The Procfile runner, with what its processes have said. */
class Runner {
  readonly process: ChildProcess;
  output = '';

  constructor(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const child = spawn(command, args, {
      cwd: project,
      env: { ...process.env, PATH: path, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.process = child;
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => (this.output += String(data)));
    onTestFinished(() => this.#end());
  }

  says(what: string | RegExp, ms = 60_000): Promise<string> {
    return until(
      () => (typeof what === 'string' ? this.output.includes(what) : what.test(this.output)) && this.output,
      ms,
    ).catch(() => {
      throw new Error(`it never said ${what}, but: ${this.output}`);
    });
  }

  /** The process id that the banner of `worker.<n>` tells. */
  pid(n: number): number {
    return Number(new RegExp(`worker\\.${n} .*pid (\\d+)`).exec(this.output)?.[1]);
  }

  /** As Ctrl-C does in a terminal, for the whole process group. */
  async #end(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const closed = once(this.process, 'close');
    process.kill(-Number(this.process.pid), 'SIGINT');
    const timer = setTimeout(() => process.kill(-Number(this.process.pid), 'SIGKILL'), 15_000);
    await closed;
    clearTimeout(timer);
  }
}

const nf = () => join(project, 'node_modules', '.bin', 'nf');
const site = () => `http://127.0.0.1:${port}`;
const page = async (place: string) => (await fetch(site() + place)).text();

/** Posts the form; returns the place that it leads to. */
async function post(): Promise<string> {
  const body = new URLSearchParams({ text });
  const response = await fetch(`${site()}/reports`, { method: 'POST', body, redirect: 'manual' });
  expect(response.status).toBe(303);
  return response.headers.get('location') ?? '';
}

const partOf = (html: string) => Number(/<progress value="(\d+)"/.exec(html)?.[1] ?? 0);

describe('the Heroku example', () => {
  test('npm start runs the Procfile: a job is posted, its progress shown, and its result', async () => {
    const runner = new Runner('npm', ['start'], { PART_MS: '100' });
    await runner.says('listening on port');
    await runner.says('ready.');
    expect(await page('/')).toContain('<form method="post" action="/reports">');
    const place = await post();
    const underWay = await until(async () => {
      const html = await page(place);
      return partOf(html) > 0 && html;
    });
    expect(underWay).toContain('<meta http-equiv="refresh" content="1">');
    const report = await until(async () => {
      const html = await page(place);
      return html.includes('Your report') && html;
    }, 30_000);
    expect(report).toContain('300 words, 8 different ones.');
    expect(report).toContain('<tr><td>to</td><td>60</td></tr>');
    expect(report).not.toContain('stopped in the middle');
    expect((await fetch(`${site()}/nothing`)).status).toBe(404);
    const empty = await fetch(`${site()}/reports`, { method: 'POST', body: new URLSearchParams({ text: ' ' }) });
    expect(empty.status).toBe(400);

    // The commands of the documentation, beside it.
    for (const line of shellLines('docs/deploying-on-heroku.md').filter((line) => line.startsWith('npx lovage'))) {
      const { stdout } = await run('/bin/sh', ['-c', line], {
        cwd: project,
        env: { ...process.env, PATH: path, REDIS_URL: redis.url, PART_MS: '10' },
      });
      if (line.includes(' status')) expect(stdout).toContain('1 node online.');
      if (line.includes(' call ')) expect(JSON.parse(stdout)).toMatchObject({ words: 6, distinct: 4 });
    }
  }, 120_000);

  test('a worker that is stopped in the middle of jobs of 30 s is gone in time, and another goes on from their checkpoints', async () => {
    // As it is: 30 s, longer than a dyno gives.
    const env = { DYNO: 'worker.1' };
    const runner = new Runner(nf(), ['start', 'web=1,worker=1'], env);
    await runner.says('listening on port');
    await runner.says('ready.');
    const places = [await post(), await post(), await post()];
    for (const place of places) await until(async () => partOf(await page(place)) >= 2, 30_000);
    const second = new Runner(nf(), ['start', 'worker=1'], env);
    await second.says('ready.');
    process.kill(runner.pid(1), 'SIGTERM');
    await runner.says(/warm shutdown \(SIGTERM\), waits up to 8 s for 3 tasks/);
    const done = await runner.says('Exited with exit code 1', herokuMs);
    expect(done).toMatch(/the time is up, 3 tasks \(reports\.words\[[\w-]+\], .*\) are aborted and given back/);
    // Nothing is lost: not a job, and not what had been done of it.
    for (const place of places) {
      const report = await until(async () => {
        const html = await page(place);
        return html.includes('Your report') && html;
      }, 60_000);
      expect(report).toContain('300 words, 8 different ones.');
      expect(report).toContain('<tr><td>to</td><td>60</td></tr>');
      expect(report).toContain('run 2 finished it');
    }
    const [, part] = /goes on from its checkpoint.*part=(\d+)/.exec(second.output) ?? [];
    expect(Number(part)).toBeGreaterThan(2);
  }, 120_000);
});

test('on a dyno it takes the certificate that Heroku has signed itself, elsewhere it does not', async () => {
  using certificate = new Certificate();
  const tls = await freePort();
  const files = ['--tls-cert-file', certificate.certFile, '--tls-key-file', certificate.keyFile];
  await using secure = await startRedis({ args: ['--tls-port', `${tls}`, ...files, '--tls-auth-clients', 'no'] });
  expect(secure.url).toMatch(/^redis:/);
  const lovage = (args: readonly string[], variable: string, dyno: string) =>
    run('npx', ['lovage', '-A', './tasks.ts', ...args], {
      cwd: project,
      env: { PATH: path, HOME: folder, [variable]: `rediss://127.0.0.1:${tls}/0`, DYNO: dyno },
    });
  const call = ['call', 'reports.words', '--args', '["to be"]'];
  // Both names of the variable.
  for (const variable of ['REDIS_URL', 'BROKER_URL']) await lovage(call, variable, 'run.1');
  const { stdout } = await lovage(['queues', '--json'], 'REDIS_URL', 'run.1');
  expect(JSON.parse(stdout)).toMatchObject([{ queue: 'celery', ready: 2 }]);
  await expect(lovage(call, 'REDIS_URL', '')).rejects.toThrow(/no safe connection \(self-signed certificate/);
}, 60_000);

test('every line of a shell block about it is one that the tests run', () => {
  const known = [
    /^npm install$/, // beforeAll
    /^cp \.env\.example \.env$/, // beforeAll
    /^npm start$/,
    /^npx lovage -A \.\/tasks\.ts (status|queues|call .* --wait)$/,
  ];
  const lines = ['docs/deploying-on-heroku.md', 'examples/heroku/README.md'].flatMap(shellLines);
  expect(lines.length).toBeGreaterThan(5);
  expect(lines.filter((line) => !known.some((pattern) => pattern.test(line)))).toEqual([]);
});

function shellLines(file: string): string[] {
  const blocks = [...readFileSync(join(root, file), 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, lines = '']) => lines.trim().split('\n'));
}
