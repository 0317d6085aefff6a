/**
 * SQS's older query protocol (forms in, XML out) in front of a stand-in that has only the newer one (JSON): what Celery
 * 5.2 and the boto3 of its time speak.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

const numbers = new Set(['DelaySeconds', 'MaxNumberOfMessages', 'WaitTimeSeconds', 'VisibilityTimeout']);
/** What lists are called in JSON, by what their items are called in forms and XML. */
const lists: Readonly<Record<string, string>> = {
  AttributeName: 'AttributeNames',
  MessageAttributeName: 'MessageAttributeNames',
};
const items: Readonly<Record<string, string>> = { Messages: 'Message', QueueUrls: 'QueueUrl' };
/** Maps that are lists of names and values in forms and XML. */
const maps: Readonly<Record<string, string>> = { Attribute: 'Attributes' };

/** Starts one on a free port, in front of `target`, such as `http://127.0.0.1:4566`. */
export async function startQueryProxy(target: string): Promise<SqsQueryProxy> {
  const proxy = new SqsQueryProxy(target);
  await proxy.listen();
  return proxy;
}

export class SqsQueryProxy implements AsyncDisposable {
  readonly #target: string;
  readonly #server: Server;

  constructor(target: string) {
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

  /** As Celery writes it. */
  get url(): string {
    return `sqs://test:test@127.0.0.1:${this.port}//`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(incoming.url ?? '/', this.#target);
    const form = new URLSearchParams(Buffer.concat(await incoming.toArray()).toString() || search);
    const action = form.get('Action') ?? '';
    const request = fromForm(form);
    if (pathname !== '/' && request.QueueUrl === undefined) request.QueueUrl = `${this.#target}${pathname}`;
    try {
      const response = await fetch(this.#target, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-amz-json-1.0',
          'x-amz-target': `AmazonSQS.${action}`,
          authorization: 'AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request',
        },
        body: JSON.stringify(request),
      });
      const text = await response.text();
      const value: { [name: string]: Json } = text === '' ? {} : JSON.parse(text);
      answer.writeHead(response.status, { 'content-type': 'text/xml' });
      answer.end(response.ok ? this.#xml(action, value) : errorXml(value));
    } catch {
      incoming.socket.destroy();
    }
  }

  #xml(action: string, value: { readonly [name: string]: Json }): string {
    // Queues are to be reached through here.
    const here = (text: string) => text.replace(/http:\/\/[^/<]+\/(\d{12}\/)/g, `http://127.0.0.1:${this.port}/$1`);
    const result = here(toXml(value));
    return `<?xml version="1.0"?><${action}Response><${action}Result>${result}</${action}Result><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></${action}Response>`;
  }
}

/** `AttributeName.1=All` is a list, `Attribute.1.Name=a&Attribute.1.Value=b` a map. */
function fromForm(form: URLSearchParams): Record<string, Json> {
  const request: Record<string, Json> = {};
  for (const [key, value] of form) {
    const [name = '', place, field] = key.split('.');
    if (name === 'Action' || name === 'Version' || name.startsWith('X-Amz') || name === 'AWSAccessKeyId') continue;
    const [list, map] = [lists[name], maps[name]];
    if (place === undefined) request[name] = numbers.has(name) ? Number(value) : value;
    else if (list) request[list] = [...((request[list] as Json[]) ?? []), value];
    else if (map && field === 'Name') {
      request[map] = { ...(request[map] as object), [value]: form.get(`${name}.${place}.Value`) ?? '' };
    }
  }
  return request;
}

function toXml(value: { readonly [name: string]: Json }): string {
  return Object.entries(value)
    .map(([name, one]) => {
      if (one === null || one === undefined) return '';
      if (name === 'Attributes' || name === 'MessageAttributes') return name === 'Attributes' ? attributesXml(one) : '';
      if (Array.isArray(one)) return one.map((item) => element(items[name] ?? name, item)).join('');
      return element(name, one);
    })
    .join('');
}

function attributesXml(attributes: Json): string {
  return Object.entries(attributes as Record<string, Json>)
    .map(([name, value]) => `<Attribute>${element('Name', name)}${element('Value', value)}</Attribute>`)
    .join('');
}

function element(name: string, value: Json): string {
  const inner = typeof value === 'object' && value !== null ? toXml(value as Record<string, Json>) : escaped(value);
  return `<${name}>${inner}</${name}>`;
}

function errorXml({ __type: type, message }: { readonly [name: string]: Json }): string {
  const names: Readonly<Record<string, string>> = { QueueDoesNotExist: 'AWS.SimpleQueueService.NonExistentQueue' };
  const short = String(type).replace(/^.*#/, '');
  const code = names[short] ?? short;
  return `<?xml version="1.0"?><ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>${escaped(message ?? '')}</Message></Error><RequestId>0</RequestId></ErrorResponse>`;
}

function escaped(value: Json): string {
  return String(value).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
