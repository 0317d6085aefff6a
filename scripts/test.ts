/**
 * `npm test`: every lane, one after the other, as CI runs them. `npm test -- <text>` runs only the test files whose path
 * has that text. What tests need of the machine is installed first, where that can be done; tests that cannot run are
 * named at the end, and fail the run in CI. Ends with `N passed, N failed` over all tests and checks.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { provision } from './provision.ts';

interface Lane {
  readonly name: string;
  /** Returns how many tests passed and failed. */
  run(): { passed: number; failed: number };
}

const root = join(import.meta.dirname, '..');
const bin = (name: string) => join(root, 'node_modules', '.bin', name);
const filter = process.argv.slice(2);
const missing = provision((line) => console.log(line));

/** A command that counts as one test. */
function command(name: string, file: string, args: readonly string[]): Lane {
  return {
    name,
    run() {
      const { status } = spawnSync(file, args, { cwd: root, stdio: 'inherit' });
      return status === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
    },
  };
}

const vitest: Lane = {
  name: 'tests',
  run() {
    const folder = mkdtempSync(join(tmpdir(), 'lovage-test-'));
    const report = join(folder, 'report.json');
    try {
      const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...filter];
      for (const { files } of missing) args.push(...files.map((file) => `--exclude=${file}`));
      // Tests start thousands of processes and threads: what one has compiled, the others need not.
      const env = { NODE_COMPILE_CACHE: join(folder, 'compiled'), ...process.env };
      const { status } = spawnSync(bin('vitest'), args, { cwd: root, stdio: 'inherit', env });
      // There is no report where no test file was left to run.
      const counts: { numPassedTests: number; numFailedTests: number } = existsSync(report)
        ? JSON.parse(readFileSync(report, 'utf8'))
        : { numPassedTests: 0, numFailedTests: 0 };
      // A file that cannot be loaded, or an error outside of a test, fails without a failed test.
      const failed = status === 0 ? 0 : Math.max(1, counts.numFailedTests);
      return { passed: counts.numPassedTests, failed };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

const lanes: Lane[] =
  filter.length > 0
    ? [vitest]
    : [command('format and lint', bin('biome'), ['check', '.']), command('types', bin('tsc'), ['--noEmit']), vitest];

let passed = 0;
let failed = 0;
for (const lane of lanes) {
  console.log(styleText('bold', `\n── ${lane.name}`));
  const started = Date.now();
  const counts = lane.run();
  passed += counts.passed;
  failed += counts.failed;
  console.log(styleText('dim', `   ${lane.name}: ${((Date.now() - started) / 1000).toFixed(1)} s`));
}
if (missing.length > 0) {
  console.log(styleText(['bold', 'yellow'], '\nNot run:'));
  for (const { name, reason } of missing) console.log(styleText('yellow', `  ${name}: ${reason}`));
  // In CI nothing may be left out unseen.
  if (process.env.CI) failed += missing.length;
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
