/**
 * An HTTP proxy in front of a stand-in for AWS: it counts requests by action, and does what AWS does on a bad day. Knows
 * the JSON protocol (SQS, DynamoDB); other requests (S3) go by their method.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What goes wrong with a request. */
export type Fault =
  /** It is answered with an error, such as `{ error: 'ThrottlingException', status: 400 }`, and does not arrive. */
  | { readonly error: string; readonly message?: string; readonly status?: number }
  /** It is never answered, and does not arrive. */
  | { readonly silence: true }
  /** The connection breaks before it arrives. */
  | { readonly cut: true }
  /** It arrives, and the connection breaks before the answer. */
  | { readonly lose: true }
  /** Some entries of a batch fail, and do not arrive. */
  | {
      readonly entries: (place: number) => boolean;
      readonly code: string;
      readonly senderFault?: boolean;
      readonly message?: string;
    }
  /** A batch of DynamoDB: so many of its first items are done, the others are left over. */
  | { readonly doOnly: number };

interface Rule {
  readonly action: string;
  readonly fault: Fault;
  /** Of so many requests one is hit, by chance. */
  readonly rate: number;
  /** Only those with this in their body, such as the name of a queue. */
  readonly on: string;
  left: number;
}

/** An entry of a batch, as far as it matters here. */
interface Batch {
  readonly Entries?: readonly { readonly Id: string }[];
}

/** Starts a proxy on a free port; it sends on to `port` of 127.0.0.1. */
export async function startAwsProxy(port: number): Promise<AwsProxy> {
  const proxy = new AwsProxy(port);
  await proxy.listen();
  return proxy;
}

export class AwsProxy implements AsyncDisposable {
  /** Requests so far, by action. */
  readonly counts = new Map<string, number>();
  /** Faults so far. */
  faults = 0;
  /** The last requests, as they came. */
  readonly sent: { readonly action: string; readonly body: string }[] = [];
  readonly #target: number;
  readonly #server: Server;
  #rules: Rule[] = [];

  constructor(target: number) {
    this.#target = target;
    this.#server = createServer((incoming, answer) => void this.#serve(incoming, answer));
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** All requests so far. */
  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Requests of one action so far, such as `SendMessageBatch`. */
  count(action: string): number {
    return this.counts.get(action) ?? 0;
  }

  /** Begins to count anew. */
  reset(): void {
    this.counts.clear();
    this.faults = 0;
  }

  /** Has requests of an action (`*`: any) fail: so many of them, of those a share, and only those whose body has `on` in it. */
  fail(action: string, fault: Fault, { times = Number.POSITIVE_INFINITY, rate = 1, on = '' } = {}): void {
    this.#rules.push({ action, fault, rate, on, left: times });
  }

  /** Nothing goes wrong any more. */
  heal(): void {
    this.#rules = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const target = incoming.headers['x-amz-target'];
    const action = typeof target === 'string' ? target.slice(target.lastIndexOf('.') + 1) : (incoming.method ?? '');
    this.counts.set(action, this.count(action) + 1);
    let body = Buffer.concat(await incoming.toArray());
    this.sent.push({ action, body: body.toString() });
    if (this.sent.length > 100) this.sent.shift();
    const fault = this.#fault(action, body);
    if (fault) this.faults += 1;
    let failed: object[] = [];
    if (fault && 'silence' in fault) return;
    if (fault && 'cut' in fault) return void incoming.socket.destroy();
    if (fault && 'error' in fault) return target === undefined ? refuseXml(answer, fault) : this.#refuse(answer, fault);
    if (fault && 'entries' in fault) {
      const split = splitBatch(body, fault);
      body = split.body;
      failed = split.failed;
      if (split.isEmpty) return respond(answer, 200, { Successful: [], Failed: failed });
    }
    let left: string | undefined;
    if (fault && 'doOnly' in fault) {
      ({ body, left } = splitItems(body, fault.doOnly));
      const all = JSON.parse(left);
      if (fault.doOnly === 0)
        return respond(answer, 200, { Responses: {}, UnprocessedKeys: all, UnprocessedItems: all });
    }
    this.#forward(incoming, body, answer, (reply) => {
      if (left !== undefined)
        return Buffer.from(reply.toString().replace(/"Unprocessed(\w+)":\{\}/, `"Unprocessed$1":${left}`));
      if (fault && 'lose' in fault) {
        incoming.socket.destroy();
        return undefined;
      }
      return failed.length === 0 ? reply : withFailed(reply, failed);
    });
  }

  #fault(action: string, body: Buffer): Fault | undefined {
    const isMeant = (one: Rule) => (one.action === '*' || one.action === action) && body.includes(one.on);
    const rule = this.#rules.find((one) => one.left > 0 && isMeant(one) && Math.random() < one.rate);
    if (rule) rule.left -= 1;
    return rule?.fault;
  }

  #refuse(answer: ServerResponse, { error, message = error, status = 400 }: Extract<Fault, { error: string }>): void {
    answer.setHeader('x-amzn-query-error', `${error};${status < 500 ? 'Sender' : 'Receiver'}`);
    respond(answer, status, { __type: `com.amazonaws#${error}`, message });
  }

  #forward(
    incoming: IncomingMessage,
    body: Buffer,
    answer: ServerResponse,
    change: (reply: Buffer) => Buffer | undefined,
  ): void {
    const headers = { ...incoming.headers, 'content-length': String(body.length) };
    const onward = request(
      { host: '127.0.0.1', port: this.#target, method: incoming.method, path: incoming.url, headers },
      async (response) => {
        const reply = change(Buffer.concat(await response.toArray()));
        if (!reply) return;
        const { 'content-length': _, 'transfer-encoding': __, ...others } = response.headers;
        answer.writeHead(response.statusCode ?? 500, { ...others, 'content-length': String(reply.length) });
        answer.end(reply);
      },
    );
    onward.on('error', () => incoming.socket.destroy());
    // As a service that does not notice: what was asked for goes on when nobody waits any more.
    onward.end(body);
  }
}

/** As S3 does it. */
function refuseXml(
  answer: ServerResponse,
  { error, message = error, status = 400 }: Extract<Fault, { error: string }>,
): void {
  answer.writeHead(status, { 'content-type': 'application/xml' });
  answer.end(`<?xml version="1.0"?><Error><Code>${error}</Code><Message>${message}</Message></Error>`);
}

function respond(answer: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  answer.writeHead(status, { 'content-type': 'application/x-amz-json-1.0', 'content-length': Buffer.byteLength(text) });
  answer.end(text);
}

function splitBatch(body: Buffer, fault: Extract<Fault, { entries: unknown }>) {
  const batch: Batch = JSON.parse(body.toString());
  const { Entries = [] } = batch;
  // Asked once for each: the answer may be a matter of chance.
  const fails = Entries.map((_, i) => fault.entries(i));
  const kept = Entries.filter((_, i) => !fails[i]);
  const { code, senderFault = false, message = code } = fault;
  const failed = Entries.filter((_, i) => fails[i]).map(({ Id }) => ({
    Id,
    SenderFault: senderFault,
    Code: code,
    Message: message,
  }));
  return { body: Buffer.from(JSON.stringify({ ...batch, Entries: kept })), failed, isEmpty: kept.length === 0 };
}

/** The first items of a BatchGetItem or BatchWriteItem, and the others as they are given back. */
function splitItems(body: Buffer, count: number) {
  const { RequestItems, ...others } = JSON.parse(body.toString());
  const [[table, asked]] = Object.entries<{ Keys?: object[] } | object[]>(RequestItems) as [
    [string, { Keys?: object[] } | object[]],
  ];
  const pick = (from: number, to?: number) => ({
    [table]: Array.isArray(asked) ? asked.slice(from, to) : { ...asked, Keys: asked.Keys?.slice(from, to) },
  });
  return {
    body: Buffer.from(JSON.stringify({ ...others, RequestItems: pick(0, count) })),
    left: JSON.stringify(pick(count)),
  };
}

function withFailed(reply: Buffer, failed: readonly object[]): Buffer {
  const { Failed = [], ...others } = JSON.parse(reply.toString());
  return Buffer.from(JSON.stringify({ ...others, Failed: [...Failed, ...failed] }));
}
