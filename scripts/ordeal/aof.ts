/**
 * Redis' append-only file is a record of all that was ever written, in order. This follows messages through it: what
 * stands between MULTI and EXEC is one step.
 */
import { createReadStream, globSync } from 'node:fs';
import { join } from 'node:path';
import { ID_PREFIX } from './side.ts';

/** The key under which the ordeal writes down what it does, so that it stands among the commands. */
export const MARK = 'ordeal:mark';

/** Something that happened to a message. */
export interface Passage {
  /** Which step of the file it was. */
  readonly step: number;
  /** Pushed to its list, popped from it, recorded as held in `unacked`, removed from there. */
  readonly what: 'pushed' | 'popped' | 'held' | 'freed';
  /**
   * Whether the step was a script of Lovage: it touched keys of Lovage, or popped with a count. Celery's BRPOP stands in
   * the file as an RPOP without one.
   */
  readonly byLovage: boolean;
  /** The last mark before it. */
  readonly after: string;
  /** The first mark behind it. */
  before: string;
}

/** Reads the append-only file in a folder of Redis; returns what happened to the messages of some tasks, in order. */
export async function passagesOf(folder: string, wanted: ReadonlySet<number>): Promise<Map<number, Passage[]>> {
  const reader = new Reader(wanted);
  const files = globSync('{appendonly.aof,appendonlydir/*.aof}', { cwd: folder }).sort();
  for (const file of files) for await (const command of commandsOf(join(folder, file))) reader.take(command);
  return reader.passages;
}

class Reader {
  readonly passages = new Map<number, Passage[]>();
  readonly #wanted: ReadonlySet<number>;
  /** The messages in each list, by their numbers: the next to be popped from the right is the last. */
  readonly #lists = new Map<string, List>();
  readonly #held = new Map<string, number>();
  #unmarked: Passage[] = [];
  #mark = 'the beginning';
  #step = 0;
  #transaction: string[][] | undefined;

  constructor(wanted: ReadonlySet<number>) {
    this.#wanted = wanted;
  }

  take(command: string[]): void {
    const name = command[0]?.toUpperCase();
    if (name === 'MULTI') this.#transaction = [];
    else if (name === 'EXEC') {
      this.#run(this.#transaction ?? []);
      this.#transaction = undefined;
    } else if (this.#transaction) this.#transaction.push(command);
    else this.#run([command]);
  }

  #run(commands: readonly string[][]): void {
    this.#step += 1;
    const byLovage = commands.some(
      ([name = '', key = '', ...rest]) => key.startsWith('lovage:') || (/^[LR]POP$/i.test(name) && rest.length > 0),
    );
    for (const [name = '', key = '', ...rest] of commands) {
      const add = (index: number | undefined, what: Passage['what']) => this.#add(index, what, byLovage);
      switch (name.toUpperCase()) {
        case 'LPUSH':
        case 'RPUSH':
          for (const value of rest) {
            const index = indexIn(value);
            this.#list(key).push(index, name.toUpperCase() === 'LPUSH' ? 'left' : 'right');
            add(index, 'pushed');
          }
          break;
        case 'RPOP':
        case 'LPOP':
          for (let i = 0; i < Number(rest[0] ?? 1); i += 1) {
            add(this.#list(key).pop(name.toUpperCase() === 'RPOP' ? 'right' : 'left'), 'popped');
          }
          break;
        case 'LMOVE':
          this.#list(rest[0] ?? '').push(this.#list(key).pop(sideOf(rest[1])), sideOf(rest[2]));
          break;
        case 'LREM':
        case 'LSET':
        case 'LTRIM':
        case 'LINSERT':
        case 'RPOPLPUSH':
          throw new Error(`the append-only file has ${name}, which this reader does not know`);
        case 'HSET':
          if (key === 'unacked') for (let i = 0; i < rest.length; i += 2) add(this.#hold(rest[i], rest[i + 1]), 'held');
          break;
        case 'HDEL':
          if (key === 'unacked') for (const tag of rest) add(this.#free(tag), 'freed');
          break;
        case 'SET':
          if (key === MARK) this.#setMark(rest[0] ?? '');
          break;
      }
    }
  }

  #list(key: string): List {
    const list = this.#lists.get(key) ?? new List();
    this.#lists.set(key, list);
    return list;
  }

  #hold(tag = '', record = ''): number | undefined {
    const index = indexIn(record);
    if (index !== undefined) this.#held.set(tag, index);
    return index;
  }

  #free(tag: string): number | undefined {
    const index = this.#held.get(tag);
    this.#held.delete(tag);
    return index;
  }

  #setMark(mark: string): void {
    this.#mark = mark;
    for (const passage of this.#unmarked) passage.before = mark;
    this.#unmarked = [];
  }

  #add(index: number | undefined, what: Passage['what'], byLovage: boolean): void {
    if (index === undefined || !this.#wanted.has(index)) return;
    const passage: Passage = { step: this.#step, what, byLovage, after: this.#mark, before: 'the end' };
    this.#unmarked.push(passage);
    const passages = this.passages.get(index) ?? [];
    this.passages.set(index, passages);
    passages.push(passage);
  }
}

/** A list of Redis that holds numbers of tasks; other entries are `undefined`. */
class List {
  readonly #items = new Map<number, number | undefined>();
  #left = 0;
  /** Behind the last. */
  #right = 0;

  push(item: number | undefined, side: 'left' | 'right'): void {
    if (side === 'left') this.#items.set(--this.#left, item);
    else this.#items.set(this.#right++, item);
  }

  pop(side: 'left' | 'right'): number | undefined {
    if (this.#left === this.#right) return undefined;
    const at = side === 'left' ? this.#left++ : --this.#right;
    const item = this.#items.get(at);
    this.#items.delete(at);
    return item;
  }
}

function sideOf(text = ''): 'left' | 'right' {
  return text.toUpperCase() === 'LEFT' ? 'left' : 'right';
}

/** The number of the task that a message or a record names first. */
function indexIn(text: string): number | undefined {
  const at = text.indexOf(ID_PREFIX);
  return at < 0 ? undefined : Number(text.slice(at + ID_PREFIX.length, at + ID_PREFIX.length + 12));
}

/** The commands in a file, each as its words; one byte is one character. What was cut off at the end is left out. */
async function* commandsOf(path: string): AsyncGenerator<string[]> {
  let text = '';
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    text += (chunk as Buffer).toString('latin1');
    let at = 0;
    for (let found = commandAt(text, at); found; found = commandAt(text, at)) {
      at = found.end;
      if (found.words.length > 0) yield found.words;
    }
    text = text.slice(at);
  }
}

function commandAt(text: string, from: number): { words: string[]; end: number } | undefined {
  let at = from;
  const line = () => {
    const end = text.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const found = text.slice(at, end);
    at = end + 2;
    return found;
  };
  const head = line();
  if (head === undefined) return undefined;
  // An annotation.
  if (!head.startsWith('*')) return { words: [], end: at };
  const words: string[] = [];
  for (let i = 0; i < Number(head.slice(1)); i += 1) {
    const length = line();
    if (length === undefined) return undefined;
    const end = at + Number(length.slice(1));
    if (end + 2 > text.length) return undefined;
    words.push(text.slice(at, end));
    at = end + 2;
  }
  return { words, end: at };
}
