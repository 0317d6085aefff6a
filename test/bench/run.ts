import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const main = join(import.meta.dirname, '..', '..', 'bench', 'main.ts');

/** `npm run bench`, with its results in a folder of a test's own. */
export class BenchRun implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'lovage-bench-test-'));

  /** Runs it to its end. `env` is added to the environment of this process. */
  run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    return spawnSync(process.execPath, [main, `--results=${this.folder}`, ...args], {
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1', ...env },
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
