import { Scalar, type ScalarTag, type Tags } from 'yaml';
import { parseIsoTime } from './iso-time.ts';

/** A scalar whose spelling is settled before the YAML library sees it, because its own would be another to PyYAML. */
export class Verbatim {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

function plainScalar(name: string, test: RegExp, resolve: (text: string) => unknown): ScalarTag {
  return { tag: `tag:yaml.org,2002:${name}`, default: true, test, resolve: (text) => new Scalar(resolve(text)) };
}

/**
 * How words without quotes are read: exactly those that PyYAML's safe dumper writes for values that are no strings.
 * The library's own schemas know more, such as `1e5`, `08` or `n`, which PyYAML writes without quotes for strings.
 * To be laid over the library's schema `failsafe`.
 */
export const PYYAML_TAGS: Tags = [
  plainScalar('null', /^(?:~|[Nn]ull|NULL)?$/, () => null),
  plainScalar('bool', /^(?:[Yy]es|YES|[Tt]rue|TRUE|[Oo]n|ON)$/, () => true),
  plainScalar('bool', /^(?:[Nn]o|NO|[Ff]alse|FALSE|[Oo]ff|OFF)$/, () => false),
  plainScalar('int', /^[-+]?(?:0|[1-9][0-9]*)$/, readInteger),
  plainScalar('float', /^(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?$/, Number),
  plainScalar('float', /^[-+]?\.(?:inf|Inf|INF)$/, (text) => (text.startsWith('-') ? -Infinity : Infinity)),
  plainScalar('float', /^\.(?:nan|NaN|NAN)$/, () => Number.NaN),
  plainScalar('timestamp', /^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d*)?(?:Z|[-+]\d\d:\d\d)?)?$/, readTime),
  'binary',
  {
    tag: 'tag:lovage,verbatim',
    default: true,
    identify: (value: unknown) => value instanceof Verbatim,
    resolve: (text: string) => text,
    stringify: (node: Scalar) => (node.value as Verbatim).text,
  },
];

function readInteger(text: string): number | bigint {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text);
}

function readTime(text: string): unknown {
  const epochMs = parseIsoTime(text);
  return epochMs === undefined ? text : new Date(epochMs);
}
