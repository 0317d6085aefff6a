import { styleText } from 'node:util';
import { saferepr } from '../wire/saferepr.ts';

/** Takes log lines: an object first, then a message. pino, and anything shaped like it, fits. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** Whether lines of a level are written; where it says no, they are not even made. pino has it. */
  isLevelEnabled?(level: 'debug' | 'info' | 'warn' | 'error'): boolean;
  /** Where its lines go, where another thread may write lines there too. */
  readonly out?: LogOut;
}

/** A file descriptor, and whether lines of JSON are written to it. */
export interface LogOut {
  readonly json: boolean;
  readonly fd: number;
}

/** Levels from quiet to talkative, with Celery's names. */
export const logLevels = ['error', 'warning', 'info', 'debug'] as const;
export type LogLevel = (typeof logLevels)[number];

const colours = { error: 'red', warning: 'yellow', info: 'cyan', debug: 'gray' } as const;

/** Writes readable lines (or JSON lines) to a stream, stderr unless told otherwise. */
export function streamLogger(
  options: { level?: LogLevel; json?: boolean; stream?: NodeJS.WritableStream } = {},
): Logger {
  const { level = 'warning', json = false, stream = process.stderr } = options;
  const limit = logLevels.indexOf(level);
  const write = (at: LogLevel, fields: object, message: string): void => {
    if (logLevels.indexOf(at) > limit) return;
    const time = new Date().toISOString();
    stream.write(json ? jsonLine(at, time, fields, message) : prettyLine(at, time, fields, message, stream));
  };
  return {
    debug: (fields, message) => write('debug', fields, message),
    info: (fields, message) => write('info', fields, message),
    warn: (fields, message) => write('warning', fields, message),
    error: (fields, message) => write('error', fields, message),
    out: { json, fd: stream === process.stdout ? 1 : 2 },
    isLevelEnabled: (wanted) => logLevels.indexOf(wanted === 'warn' ? 'warning' : wanted) <= limit,
  };
}

/** What a task has printed, as lines of JSON where the log is made of these, for whoever reads it expects nothing else. */
export function printedLines(lines: readonly string[], stream: 'stdout' | 'stderr', label: string | undefined): string {
  const [, task, id] = /^(.*)\[(.*)\]$/.exec(label ?? '') ?? [];
  const time = new Date().toISOString();
  return lines.map((line) => jsonLine('info', time, { ...(task && { task, id }), stream }, line)).join('');
}

function jsonLine(level: LogLevel, time: string, fields: object, message: string): string {
  const safe = Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, jsonValue(value)]));
  return `${JSON.stringify({ level, time, msg: message, ...safe })}\n`;
}

/** The value where JSON has a form for it, else text about it: a log line never fails. */
function jsonValue(value: unknown): unknown {
  if (value instanceof Error) return { name: value.name, message: value.message, stack: value.stack };
  try {
    JSON.stringify(value);
    return value;
  } catch {
    return saferepr(value);
  }
}

function prettyLine(
  level: LogLevel,
  time: string,
  fields: object,
  message: string,
  stream: NodeJS.WritableStream,
): string {
  const plain: string[] = [];
  let stack = '';
  for (const [key, value] of Object.entries(fields)) {
    if (value instanceof Error) stack = `\n    ${value.stack ?? value.message}`;
    else if (value !== undefined)
      plain.push(`${key}=${typeof value === 'string' ? value : JSON.stringify(jsonValue(value))}`);
  }
  const label = `[${time.slice(0, 23).replace('T', ' ')}: ${level.toUpperCase()}]`;
  const styled = styleText(colours[level], label, { stream });
  return `${styled} ${message}${plain.length > 0 ? `  ${plain.join(' ')}` : ''}${stack}\n`;
}
