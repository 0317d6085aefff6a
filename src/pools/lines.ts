import { StringDecoder } from 'node:string_decoder';

/** The longest line that is kept together, in characters: memory is bounded also where nobody ends a line. */
const maxLine = 64 * 1024;

/** Cuts a stream of text or bytes into lines. */
export class Lines {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  write(chunk: string | Uint8Array): void {
    this.#rest += typeof chunk === 'string' ? chunk : this.#decoder.write(Buffer.from(chunk));
    let from = 0;
    for (let end = this.#rest.indexOf('\n'); end >= 0; end = this.#rest.indexOf('\n', from)) {
      this.#onLine(this.#rest.slice(from, this.#rest[end - 1] === '\r' && end > from ? end - 1 : end));
      from = end + 1;
    }
    for (; this.#rest.length - from > maxLine; from += maxLine) this.#onLine(this.#rest.slice(from, from + maxLine));
    if (from > 0) this.#rest = this.#rest.slice(from);
  }

  /** Ends the line that is open, if one is. */
  flush(): void {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = '';
    if (rest !== '') this.#onLine(rest);
  }
}
