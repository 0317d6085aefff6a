/** A TCP proxy between a client and a server on 127.0.0.1, which breaks connections where a test wants it. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Where to cut. Exactly one of `request` and `reply` says which reply is meant. */
export interface Cut {
  /** The reply to the first request that has this text. */
  readonly request?: string;
  /** The first reply that has this text in its first chunk. */
  readonly reply?: string;
  /** So many bytes more come through, counted from the beginning of that reply; then both directions are cut. */
  readonly bytes: number;
}

interface Armed extends Cut {
  readonly done: () => void;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** The end of what the client sent last: a text may come in two chunks. */
  tail: string;
  /** The cut that waits for bytes of this connection, and how many may still pass. */
  cut?: { readonly armed: Armed; left: number };
}

/** Starts a proxy on a free port; it connects to `port`. */
export async function startProxy(port: number): Promise<TcpProxy> {
  const proxy = new TcpProxy(port);
  await proxy.listen();
  return proxy;
}

export class TcpProxy implements AsyncDisposable {
  readonly #target: number;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #armed = new Set<Armed>();
  readonly #silent = new Set<Pair>();
  #refusing = false;
  /** Bytes that came from the server so far. */
  fromServer = 0;
  /** Bytes that came from clients so far. */
  fromClients = 0;

  constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#join(client));
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The same as that of the server, through this proxy. */
  get url(): string {
    return `redis://127.0.0.1:${this.port}/0`;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Cuts a connection once, in the middle of a reply. Resolves when it has been cut. */
  cut(cut: Cut): Promise<void> {
    return new Promise((done) => this.#armed.add({ ...cut, done }));
  }

  /** Cuts every connection now. */
  cutAll(): void {
    for (const pair of [...this.#pairs]) this.#end(pair);
  }

  /** Lets nothing through any more on the connections there are, and tells nobody: as a network that drops packets. */
  silence(): void {
    for (const pair of this.#pairs) this.#silent.add(pair);
  }

  /** Cuts every connection, and each new one as soon as it comes. */
  refuse(): void {
    this.#refusing = true;
    this.cutAll();
  }

  /** Takes connections again. */
  restore(): void {
    this.#refusing = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.refuse();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(client: Socket): void {
    if (this.#refusing) {
      client.destroy();
      return;
    }
    const server = connect(this.#target, '127.0.0.1');
    const pair: Pair = { client, server, tail: '' };
    this.#pairs.add(pair);
    client.on('data', (data) => this.#request(pair, data));
    server.on('data', (data) => this.#reply(pair, data));
    for (const socket of [client, server]) {
      socket.on('error', () => {});
      socket.on('close', () => this.#end(pair));
    }
  }

  #request(pair: Pair, data: Buffer): void {
    if (this.#silent.has(pair)) return;
    this.fromClients += data.length;
    const text = pair.tail + data.toString('latin1');
    pair.tail = text.slice(-200);
    this.#arm(pair, ({ request }) => request !== undefined && text.includes(request));
    pair.server.write(data);
  }

  #reply(pair: Pair, data: Buffer): void {
    if (this.#silent.has(pair)) return;
    this.fromServer += data.length;
    const text = data.toString('latin1');
    this.#arm(pair, ({ reply }) => reply !== undefined && text.includes(reply));
    const { cut } = pair;
    const passing = cut ? Math.min(cut.left, data.length) : data.length;
    if (!cut || passing < cut.left) {
      if (cut) cut.left -= passing;
      pair.client.write(data);
      return;
    }
    // Nothing comes behind it; and what may pass must have left before the end does.
    pair.server.pause();
    pair.client.write(data.subarray(0, passing), () => {
      this.#end(pair);
      cut.armed.done();
    });
  }

  #arm(pair: Pair, isMeant: (cut: Armed) => boolean): void {
    if (pair.cut) return;
    for (const armed of this.#armed) {
      if (!isMeant(armed)) continue;
      this.#armed.delete(armed);
      pair.cut = { armed, left: armed.bytes };
      return;
    }
  }

  #end(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  }
}
