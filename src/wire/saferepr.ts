/** Python's notation for values, for display only: `argsrepr`, `kwargsrepr` and events (wire SPEC 1.5). */

interface Sink {
  text: string;
  readonly maxLength: number;
  readonly maxLevels: number;
}

/**
 * Shows a value the way Python's repr() would, cut at `maxLength` characters (the closing brackets come on top) and
 * below `maxLevels` of nesting, where `...` stands for the rest. Never throws.
 */
export function saferepr(value: unknown, maxLength = 1024, maxLevels = 3): string {
  const sink: Sink = { text: '', maxLength, maxLevels };
  write(sink, value, 0);
  return sink.text;
}

/** Shows positional arguments as a Python tuple: `(2, 3)`, `(2,)`, `()`. Cut like {@link saferepr}. */
export function reprArgs(args: readonly unknown[], maxLength = 1024, maxLevels = 3): string {
  if (args.length === 0) return '()';
  const sink: Sink = { text: '(', maxLength, maxLevels };
  writeItems(sink, args, 0);
  sink.text += args.length === 1 && !isFull(sink) ? ',)' : ')';
  return sink.text;
}

function isFull(sink: Sink): boolean {
  return sink.text.length >= sink.maxLength;
}

function write(sink: Sink, value: unknown, level: number): void {
  switch (typeof value) {
    case 'string':
      writeString(sink, value);
      break;
    case 'number':
      sink.text += reprNumber(value);
      break;
    case 'boolean':
      sink.text += value ? 'True' : 'False';
      break;
    case 'undefined':
      sink.text += 'None';
      break;
    case 'bigint':
      sink.text += String(value);
      break;
    case 'object':
      if (value === null) sink.text += 'None';
      else writeObject(sink, value, level);
      break;
    default:
      sink.text += `<${typeof value}>`;
  }
}

function reprNumber(value: number): string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0.0' : String(value);
  return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const ESCAPED = /['\\\x00-\x1f\x7f]/g;

function writeString(sink: Sink, value: string): void {
  const room = sink.maxLength - sink.text.length;
  const isCut = value.length > room;
  const shown = isCut ? value.slice(0, Math.max(room, 0)) : value;
  sink.text += `'${shown.replace(ESCAPED, escapeCharacter)}${isCut ? '...' : ''}'`;
}

function escapeCharacter(character: string): string {
  switch (character) {
    case '\n':
      return '\\n';
    case '\r':
      return '\\r';
    case '\t':
      return '\\t';
    case "'":
    case '\\':
      return `\\${character}`;
    default:
      return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  }
}

function writeObject(sink: Sink, value: object, level: number): void {
  try {
    if (Array.isArray(value)) writeArray(sink, value, level);
    else if (value instanceof Date) sink.text += reprDate(value);
    else if (value instanceof Uint8Array) writeBytes(sink, value);
    else writeMap(sink, value, level);
  } catch {
    // A getter or a proxy of the user's that throws must not keep the task from being sent.
    sink.text += '<unprintable>';
  }
}

function writeArray(sink: Sink, array: readonly unknown[], level: number): void {
  sink.text += '[';
  if (level >= sink.maxLevels && array.length > 0) sink.text += '...';
  else writeItems(sink, array, level);
  sink.text += ']';
}

function writeItems(sink: Sink, items: readonly unknown[], level: number): void {
  for (let i = 0; i < items.length; i += 1) {
    if (i > 0) sink.text += ', ';
    if (isFull(sink)) {
      sink.text += '...';
      return;
    }
    write(sink, items[i], level + 1);
  }
}

function writeMap(sink: Sink, object: object, level: number): void {
  sink.text += '{';
  let separator = '';
  for (const key of Object.keys(object)) {
    sink.text += separator;
    separator = ', ';
    if (level >= sink.maxLevels || isFull(sink)) {
      sink.text += '...';
      break;
    }
    writeString(sink, key);
    sink.text += ': ';
    write(sink, (object as Record<string, unknown>)[key], level + 1);
  }
  sink.text += '}';
}

function reprDate(date: Date): string {
  if (Number.isNaN(date.getTime())) return '<invalid Date>';
  const parts = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours()];
  parts.push(date.getUTCMinutes());
  const ms = date.getUTCMilliseconds();
  if (date.getUTCSeconds() > 0 || ms > 0) parts.push(date.getUTCSeconds());
  if (ms > 0) parts.push(ms * 1000);
  return `datetime.datetime(${parts.join(', ')}, tzinfo=datetime.timezone.utc)`;
}

function writeBytes(sink: Sink, bytes: Uint8Array): void {
  const room = Math.max(sink.maxLength - sink.text.length, 0);
  let text = '';
  for (const byte of bytes.subarray(0, room)) {
    const isPrintable = byte >= 0x20 && byte < 0x7f && byte !== 0x27 && byte !== 0x5c;
    text += isPrintable ? String.fromCharCode(byte) : escapeCharacter(String.fromCharCode(byte));
  }
  sink.text += `b'${text}${bytes.length > room ? '...' : ''}'`;
}
