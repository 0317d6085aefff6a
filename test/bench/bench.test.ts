import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Results } from '../../bench/report.ts';
import { workloads } from '../../bench/workloads.ts';

const main = join(import.meta.dirname, '..', '..', 'bench', 'main.ts');
const folder = mkdtempSync(join(tmpdir(), 'lovage-bench-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bench = (...args: string[]) =>
  spawnSync(process.execPath, [main, `--results=${folder}`, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });

describe('npm run bench', () => {
  // How fast anything is, is asserted nowhere: only that every number is there and is one.
  test('measures every workload on sqlite and memory, prints JSON and writes the same', { timeout: 180_000 }, () => {
    const { status, stdout, stderr } = bench('--quick', '--n=100', '--json', '--name=test');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const results = JSON.parse(stdout) as Results;
    for (const target of ['sqlite', 'memory']) {
      for (const workload of Object.keys(workloads)) {
        const rows = results.rows.filter((row) => row.target === target && row.workload === workload);
        expect(rows, `${workload} on ${target}`).not.toEqual([]);
        for (const { metric, median, values } of rows) {
          expect(values, `${workload} ${metric} on ${target}`).toHaveLength(1);
          expect(median, `${workload} ${metric} on ${target}`).toBeGreaterThan(0);
          expect(median, `${workload} ${metric} on ${target}`).toBeLessThan(Number.POSITIVE_INFINITY);
        }
      }
    }
    const [file = ''] = readdirSync(folder);
    expect(file).toMatch(/^\d{4}-\d\d-\d\d-\d\d-\d\d-test\.json$/);
    expect(JSON.parse(readFileSync(join(folder, file), 'utf8'))).toEqual(results);
  });

  test('prints a table of medians, without colours where it is piped', { timeout: 60_000 }, () => {
    const { status, stdout, stderr } = bench('--only=memory', '--workloads=W2', '--n=100', '--repeats=2');
    expect(status).toBe(0);
    expect(stdout).toContain('medians of 2 runs, 100 no-op tasks');
    expect(stdout).toMatch(/^W2 round trip, one at a time +p50, ms +\d+\.\d\d +\d+\.\d\d – \d+\.\d\d$/m);
    expect(stdout).not.toContain('\u001b[');
    expect(stderr).toContain('[2/2] memory w2, repeat 2 of 2');
  });

  test.each([
    [['--repeat=3'], "unknown option '--repeat=3'", 'Did you mean --repeats?'],
    [['--workloads=w9'], "There is no 'w9'", 'there are w1, w2'],
    [['--only=sqlit'], "There is no 'sqlit'", 'there are sqlite, memory'],
    [['--n=0'], 'Expected a whole number', '--n'],
    [['--name=../x'], 'Expected letters', '--name'],
    [['fast'], 'too many arguments', '--help'],
  ])('refuses %j and says what is wrong', (args, what, hint) => {
    const { status, stdout, stderr } = bench(...args);
    expect(status).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toContain(what);
    expect(stderr).toContain(hint);
  });
});
