import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const start = join(import.meta.dirname, '..', '..', 'scripts', 'demo', 'start.js');
// The demo's temporary folder is made in here.
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-demo-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const demo = (...args: readonly string[]) =>
  spawnSync(process.execPath, [start, ...args], {
    encoding: 'utf8',
    env: { ...process.env, TMPDIR: folder, TEMP: folder },
    timeout: 110_000,
    killSignal: 'SIGINT',
  });

describe('npm run demo', () => {
  test('imports every row once though a worker is killed, within a minute, and leaves nothing behind', {
    timeout: 120_000,
  }, () => {
    const { status, stdout, stderr } = demo('--json');
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const summary: unknown = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
    expect(summary).toEqual({
      files: expect.any(Number),
      rowsIn: expect.any(Number),
      rowsStored: expect.any(Number),
      lost: 0,
      doubled: 0,
      kills: expect.any(Number),
      seconds: expect.any(Number),
    });
    const { files, rowsIn, rowsStored, kills, seconds } = summary as Record<string, number>;
    expect(rowsStored).toBe(rowsIn);
    expect(files).toBeGreaterThan(10);
    expect(rowsIn).toBeGreaterThan(100_000);
    expect(kills).toBeGreaterThanOrEqual(1);
    expect(seconds).toBeLessThan(60);
    expect(stdout).toContain(' rows stored, 0 lost, 0 doubled\n');
    expect(stdout, 'no colours in a pipe').not.toContain('\x1b[');
    expect(readdirSync(folder), 'no file stays').toEqual([]);
  });

  test('refuses an option that does not exist, and says which do', () => {
    const { status, stdout, stderr } = demo('--jsno');
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/Unknown option '--jsno'[\s\S]*--json/);
  });
});
