const QUOTE = 0x22;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Some records of a file that follow each other: small enough to travel in a message, whatever the records hold. */
export interface Chunk {
  /** Number of its first record; the header is 0. */
  readonly first: number;
  /** Where it begins in the file, in bytes. */
  readonly start: number;
  /** Where it ends, exclusive. */
  readonly end: number;
}

/** Cuts a CSV file into a header and chunks of up to `size` records, always between two records. */
export function splitCsv(file: Buffer, delimiter: string, size: number): { header: string; chunks: Chunk[] } {
  const begin = file.subarray(0, 3).equals(Buffer.from('\uFEFF')) ? 3 : 0;
  const ends = recordEnds(file, begin, delimiter.charCodeAt(0));
  const chunks: Chunk[] = [];
  for (let i = 0; i + 1 < ends.length; i += size) {
    chunks.push({ first: i + 1, start: ends[i] ?? 0, end: ends[i + size] ?? file.length });
  }
  return { header: file.toString('utf8', begin, ends[0]), chunks };
}

/** Where each record ends. Quotes matter: a line break between them belongs to the field. */
function recordEnds(file: Buffer, begin: number, delimiter: number): number[] {
  const ends: number[] = [];
  let quoted = false;
  let fieldStart = true;
  for (let at = begin; at < file.length; at++) {
    const byte = file[at];
    const next = file[at + 1];
    if (quoted) {
      if (byte !== QUOTE) continue;
      // Two quotes stand for one inside the field.
      if (next === QUOTE) at++;
      else quoted = false;
    } else if (byte === QUOTE && fieldStart) {
      quoted = true;
    } else {
      const recordEnd = byte === LINE_FEED || (byte === CARRIAGE_RETURN && next !== LINE_FEED);
      if (recordEnd) ends.push(at + 1);
      fieldStart = recordEnd || byte === delimiter;
    }
  }
  if (file.length > (ends.at(-1) ?? begin)) ends.push(file.length);
  return ends;
}
