import { Lines } from './lines.ts';

/** Takes what code prints in a child, line by line, in its order, in place of the streams of the process. */
export class ChildOutput {
  readonly #lines: { readonly stdout: Lines; readonly stderr: Lines };

  constructor(onLine: (stream: 'stdout' | 'stderr', line: string) => void) {
    this.#lines = {
      stdout: new Lines((line) => onLine('stdout', line)),
      stderr: new Lines((line) => onLine('stderr', line)),
    };
    replaceWrite(process.stdout, this.#lines.stdout);
    replaceWrite(process.stderr, this.#lines.stderr);
  }

  /** A line of the child's own. */
  note(text: string): void {
    this.#lines.stderr.write(`${text}\n`);
  }

  /** What is printed from now on begins a new line. */
  flush(): void {
    this.#lines.stdout.flush();
    this.#lines.stderr.flush();
  }
}

type Written = (error?: Error | null) => void;

/** `console` writes by these methods too. */
function replaceWrite(stream: NodeJS.WriteStream, lines: Lines): void {
  stream.write = (chunk: string | Uint8Array, encoding?: BufferEncoding | Written, written?: Written): boolean => {
    const text = typeof chunk === 'string' && typeof encoding === 'string' ? Buffer.from(chunk, encoding) : chunk;
    lines.write(text);
    const callback = typeof encoding === 'function' ? encoding : written;
    if (callback) process.nextTick(callback, null);
    return true;
  };
}
