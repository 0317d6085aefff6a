import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { IdleResults, Results } from '../../bench/report.ts';
import { type Workload, workloads } from '../../bench/workloads.ts';
import { BenchRun } from './run.ts';

const bench = new BenchRun();
afterAll(() => bench[Symbol.dispose]());

describe('npm run bench', () => {
  // How fast anything is, is asserted nowhere: only that every number is there and is one.
  test('measures every workload on sqlite and memory, prints JSON and writes the same', { timeout: 180_000 }, () => {
    const args = ['--only=sqlite,memory', '--quick', '--n=100', '--json', '--name=test'];
    const { status, stdout, stderr } = bench.run(args);
    const results = JSON.parse(stdout) as Results;
    expect({ status, failed: results.failed }).toEqual({ status: 0, failed: [] });
    expect(stderr).not.toContain('sqlite w1');
    for (const target of ['sqlite', 'memory'] as const) {
      for (const [workload, { on }] of Object.entries<Workload>(workloads)) {
        if (on?.includes(target) === false) continue;
        const rows = results.rows.filter((row) => row.target === target && row.workload === workload);
        expect(rows, `${workload} on ${target}`).not.toEqual([]);
        for (const { metric, median, values } of rows) {
          expect(values, `${workload} ${metric} on ${target}`).toHaveLength(1);
          expect(median, `${workload} ${metric} on ${target}`).toBeGreaterThan(0);
          expect(median, `${workload} ${metric} on ${target}`).toBeLessThan(Number.POSITIVE_INFINITY);
        }
      }
    }
    const [file = ''] = readdirSync(bench.folder);
    expect(file).toMatch(/^\d{4}-\d\d-\d\d-\d\d-\d\d-test\.json$/);
    expect(JSON.parse(readFileSync(join(bench.folder, file), 'utf8'))).toEqual(results);
  });

  test('prints a table of medians, without colours where it is piped', { timeout: 60_000 }, () => {
    const { status, stdout, stderr } = bench.run(['--only=memory', '--workloads=W2', '--n=100', '--repeats=2']);
    expect(status).toBe(0);
    expect(stdout).toContain('medians of 2 runs, 100 no-op tasks');
    expect(stdout).toMatch(/^W2 round trip, one at a time +p50, ms +\d+\.\d\d +\d+\.\d\d – \d+\.\d\d$/m);
    expect(stdout).not.toContain('\u001b[');
    expect(stderr).toContain('[2/2] memory w2, repeat 2 of 2');
  });

  test('without a redis-server says how to get one, and measures the rest', { timeout: 60_000 }, () => {
    const args = ['--only=memory,redis,floor', '--workloads=w2', '--n=100', '--json'];
    const rest = bench.run(args, { PATH: bench.folder });
    expect(rest.status).toBe(0);
    const { rows, skipped } = JSON.parse(rest.stdout) as Results;
    expect(new Set(rows.map(({ target }) => target))).toEqual(new Set(['memory']));
    expect(skipped.map(({ target }) => target)).toEqual(['redis', 'floor']);
    expect(skipped[0]?.reason).toContain('apt-get install redis-server');
    const nothing = bench.run(['--only=redis'], { PATH: bench.folder });
    expect(nothing).toMatchObject({ status: 1, stdout: '' });
    expect(nothing.stderr).toContain('apt-get install redis-server');
  });

  test('--idle watches a worker without work', { timeout: 60_000 }, () => {
    const { status, stdout } = bench.run(['--idle=2', '--only=sqlite', '--json']);
    expect(status).toBe(0);
    const { idle, idleSeconds } = JSON.parse(stdout) as IdleResults;
    expect(idleSeconds).toBe(2);
    expect(idle).toEqual([{ target: 'sqlite', workerCpu: expect.any(Number), workerRss: expect.any(Number) }]);
    // A whole core would be 60 000.
    expect(idle[0]?.workerCpu).toBeGreaterThan(0);
    expect(idle[0]?.workerCpu).toBeLessThan(60_000);
  });

  test.each([
    [['--repeat=3'], "unknown option '--repeat=3'", 'Did you mean --repeats?'],
    [['--workloads=w9'], "There is no 'w9'", 'there are w1, w2'],
    [['--only=sqlit'], "There is no 'sqlit'", 'there are sqlite, memory'],
    [['--idle', '--only=memory'], '--idle measures sqlite and redis', '--help'],
    [['--idle=0'], 'Expected a whole number', '--idle'],
    [['--n=0'], 'Expected a whole number', '--n'],
    [['--name=../x'], 'Expected letters', '--name'],
    [['fast'], 'too many arguments', '--help'],
  ])('refuses %j and says what is wrong', (args, what, hint) => {
    const { status, stdout, stderr } = bench.run(args);
    expect(status).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toContain(what);
    expect(stderr).toContain(hint);
  });
});
