import { ConfigError } from '../errors.ts';
import { parseDuration } from '../util/duration.ts';
import { parseIsoTime } from '../wire/iso-time.ts';
import { exponential } from './random.ts';

/** More messages than this are no longer simulated one by one in good time. */
const maxArrivals = 5_000_000;

/** How many messages a second come from a moment on. */
export interface RateStep {
  readonly from: number;
  readonly perSecond: number;
}

/**
 * Reads a course of rates, such as `2/s` or `2/s@0,50/s@5m,0@15m`: how many come, and from when on.
 * @throws ConfigError
 */
export function parseRates(text: string): RateStep[] {
  const steps = text.split(',').map((part): RateStep => {
    const [, number, unit = 's', from = '0'] = /^\s*(\d+(?:\.\d+)?)(?:\/(s|m|h|d))?(?:@(.+?))?\s*$/.exec(part) ?? [];
    const start = parseDuration(from);
    if (number === undefined || start === undefined)
      throw new ConfigError(`rate: expected such as 2/s, 90/m or 2/s@0,50/s@5m,0@15m, got '${part}'`);
    return { from: start, perSecond: Number(number) / (parseDuration(`1${unit}`) ?? 1) };
  });
  if (steps.some(({ from }, i) => i > 0 && from <= (steps[i - 1]?.from ?? 0)))
    throw new ConfigError(`rate: expected its times to grow, got '${text}'`);
  return steps;
}

/**
 * When messages come, in seconds: `backlog` of them are there at the start, the others follow the rates for `seconds`, at
 * random moments where `random` is given and evenly without.
 */
export function arrivalsOf(options: ArrivalOptions): number[] {
  const { steps, seconds, backlog = 0, random } = options;
  const expected = steps.reduce((sum, { from, perSecond }, i) => {
    const until = Math.min(seconds, steps[i + 1]?.from ?? seconds);
    return sum + Math.max(0, until - from) * perSecond;
  }, backlog);
  checkCount(expected);
  const times = new Array<number>(backlog).fill(0);
  for (const [i, { from, perSecond }] of steps.entries()) {
    if (perSecond === 0) continue;
    const until = Math.min(seconds, steps[i + 1]?.from ?? seconds);
    const gap = () => (random ? exponential(1 / perSecond, random) : 1 / perSecond);
    for (let at = from + gap(); at <= until; at += gap()) times.push(at);
  }
  return times;
}

export interface ArrivalOptions {
  readonly steps: readonly RateStep[];
  readonly seconds: number;
  readonly backlog?: number;
  readonly random?: (() => number) | undefined;
}

/**
 * Reads when messages came from a text: a line for each, with seconds or an ISO time, perhaps a comma and how many. A first
 * line of words, empty lines and lines after `#` are passed over. The first message comes at 0.
 * @throws ConfigError naming the line
 */
export function readArrivals(text: string, from: string): number[] {
  const times: number[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const [when = '', many = '1', ...more] = trimmed.split(',').map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'));
    const seconds = /^\d+(\.\d+)?$/.test(when) ? Number(when) : (parseIsoTime(when) ?? Number.NaN) / 1000;
    const count = /^\d+$/.test(many) ? Number(many) : Number.NaN;
    if (i === 0 && Number.isNaN(seconds) && /^[a-z_ ]+$/i.test(when)) continue;
    if (Number.isNaN(seconds) || Number.isNaN(count) || more.length > 0)
      throw new ConfigError(
        `${from}, line ${i + 1}: expected seconds or an ISO time, perhaps a comma and how many, got '${trimmed.slice(0, 80)}'`,
      );
    checkCount(times.length + count);
    for (let n = 0; n < count; n++) times.push(seconds);
  }
  if (times.length === 0) throw new ConfigError(`${from}: expected a line for each message, got none`);
  times.sort((a, b) => a - b);
  const [first = 0] = times;
  return times.map((time) => time - first);
}

function checkCount(count: number): void {
  if (count > maxArrivals)
    throw new ConfigError(
      `the simulation takes up to ${maxArrivals} messages, got ${Math.round(count)}: try a shorter time`,
    );
}
