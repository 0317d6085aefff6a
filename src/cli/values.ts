import { InvalidArgumentError } from 'commander';
import { autoscaleKind } from '../app/autoscale.ts';
import { ConfigError, DecodeError } from '../errors.ts';
import { parseDuration } from '../util/duration.ts';
import { type Kind, kinds } from '../util/options.ts';
import { parseIsoTime } from '../wire/iso-time.ts';
import { decodeJson } from '../wire/json.ts';

/** Readers of option values. Each throws commander's error, which names the option and ends with what was expected. */

function reader<T>(kind: Kind<T>): (text: string) => T {
  return (text) => {
    const value = kind.parse(text);
    if (value === undefined) throw new InvalidArgumentError(`Expected ${kind.expected}.`);
    return value;
  };
}

export const seconds = reader(kinds.seconds());
export const autoscale = reader(autoscaleKind);
export const list = reader(kinds.texts);
/** The number of an AWS account. */
export const accountNumber = reader(
  kinds.custom<string>(
    'the 12 digits of an AWS account',
    () => false,
    (text) => (/^\d{12}$/.test(text) ? text : undefined),
  ),
);

export const wholeNumber = (min: number, max?: number) => reader(kinds.int(min, max));

const isoTime = kinds.custom<Date>(
  'an ISO time such as 2031-01-02T03:04:05Z',
  () => false,
  (text) => {
    const epochMs = parseIsoTime(text);
    return epochMs === undefined ? undefined : new Date(epochMs);
  },
);

/** An instant in ISO form; UTC where it names no zone, as in Celery. */
export const instant = reader(isoTime);

/** Seconds from now, or an instant. */
export const secondsOrInstant = reader(
  kinds.custom<number | Date>(
    `seconds from now, such as 60, or ${isoTime.expected}`,
    () => false,
    (text) => kinds.seconds().parse(text) ?? isoTime.parse(text),
  ),
);

/** A time such as 90s, 2m or 1.5h, in seconds; a plain number is seconds. */
export const duration = reader(kinds.custom<number>('a time such as 90s, 2m or 1.5h', () => false, parseDuration));

/** A number above 0. */
export const amount = reader(
  kinds.custom<number>(
    'a number above 0',
    () => false,
    (text) => (Number(text) > 0 && Number.isFinite(Number(text)) ? Number(text) : undefined),
  ),
);

/** `--args`: a JSON list, with the NaN and the large integers that Celery's JSON has. */
export function jsonList(text: string): readonly unknown[] {
  const value = json(text, '--args', "a JSON list, such as --args '[2, 3]'");
  if (Array.isArray(value)) return value;
  throw new ConfigError(`option --args: expected a JSON list, such as --args '[2, 3]', got ${text}`);
}

/** `--kwargs`: a JSON object. */
export function jsonObject(text: string): Readonly<Record<string, unknown>> {
  const value = json(text, '--kwargs', `a JSON object, such as --kwargs '{"x": 2}'`);
  if (kinds.map.is(value)) return value;
  throw new ConfigError(`option --kwargs: expected a JSON object, such as --kwargs '{"x": 2}', got ${text}`);
}

function json(text: string, option: string, expected: string): unknown {
  try {
    return decodeJson(text);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new ConfigError(`option ${option}: expected ${expected}, got ${text} (${error.message})`);
  }
}
