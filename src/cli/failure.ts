import { styleText } from 'node:util';
import { CommanderError } from 'commander';
import { ConfigError, LovageError } from '../errors.ts';
import { strictJson } from './output.ts';
import { status } from './run.ts';

/** Tells people, or with `--json` programs, on stderr what went wrong. Returns the exit status: 2 for wrong usage or configuration. */
export function reportFailure(error: unknown, json: boolean): number {
  // Help and the version come as "errors" too, already printed; help without being asked for says what is missing.
  if (error instanceof CommanderError && /^commander\.(help|version)/.test(error.code)) {
    return error.exitCode === 0 ? status.ok : status.usage;
  }
  const { code, message } = describe(error);
  if (json) process.stderr.write(`${strictJson({ error: { code, message } })}\n`);
  else process.stderr.write(`${styleText('red', `error ${code}:`, { stream: process.stderr })} ${message}\n`);
  return error instanceof ConfigError || error instanceof CommanderError ? status.usage : status.failed;
}

function describe(error: unknown): { code: string; message: string } {
  if (error instanceof LovageError) return { code: error.code, message: error.message };
  if (error instanceof CommanderError) return { code: 'CONFIG', message: error.message.replace(/^error: /, '') };
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'UNEXPECTED', message: text };
}
