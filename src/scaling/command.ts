import { spawn } from 'node:child_process';
import { StoreError } from '../errors.ts';
import { decodeJson } from '../wire/json.ts';
import type { ScalingTarget } from './target.ts';

/** More than this of what a script prints is a mistake. */
const maxOutput = 64 * 1024;

/**
 * Anything that a script of yours can count and scale. The script is started by a shell; it reads one JSON object from
 * stdin, and finds the same in `LOVAGE_ACTION` and `LOVAGE_COUNT`:
 * `{"action":"count"}`: it prints `{"running":2,"pending":0}`, perhaps with `"desired":2`;
 * `{"action":"scale","count":3}`: it has so many run. An exit status other than 0 is a failure, with stderr as the reason.
 */
export function commandTarget(command: string): ScalingTarget {
  const name = `command '${command}'`;
  return {
    name,
    async counts(signal) {
      const text = await runScript(command, { action: 'count' }, signal);
      const counts = parsed(text);
      const isCount = (value: unknown): value is number =>
        typeof value === 'number' && Number.isInteger(value) && value >= 0;
      const { running, pending = 0, desired } = counts ?? {};
      if (!isCount(running) || !isCount(pending) || (desired !== undefined && !isCount(desired)))
        throw new StoreError(
          `${name}: expected it to print {"running": 2, "pending": 0} for {"action": "count"}, got ${JSON.stringify(text.slice(0, 200))}`,
        );
      return { running, pending, ...(desired !== undefined && { desired }) };
    },
    async setDesired(count, signal) {
      await runScript(command, { action: 'scale', count }, signal);
    },
    async close() {},
  };
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value = decodeJson(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

interface Request {
  readonly action: 'count' | 'scale';
  readonly count?: number;
}

function runScript(command: string, request: Request, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (what: string, cause?: unknown) =>
      reject(new StoreError(`command '${command}' (${request.action}) ${what}`, { cause }));
    // A group of its own, so that what the shell has started ends with it.
    const child = spawn(command, {
      shell: true,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, LOVAGE_ACTION: request.action, LOVAGE_COUNT: String(request.count ?? '') },
    });
    const output = { stdout: '', stderr: '' };
    const end = () => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    };
    const onAbort = () => {
      end();
      fail('did not end in time, and was killed');
    };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (output[name].length < maxOutput) output[name] += text;
      });
    // A script need not read.
    child.stdin.on('error', () => {});
    child.stdin.end(`${JSON.stringify(request)}\n`);
    child.once('error', (error) => fail(`could not be started: ${error.message}`, error));
    child.once('close', (status, killedBy) => {
      signal.removeEventListener('abort', onAbort);
      if (status === 0) resolve(output.stdout);
      else fail(`ended with ${status ?? killedBy}: ${output.stderr.trim().slice(-500) || 'no word on stderr'}`);
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
