/**
 * A server that answers as ECS, CloudWatch and Application Auto Scaling, and ECS's agent inside of tasks, for tests on one
 * machine. Requests and answers are checked by the SDK's own schemas and by documented limits; tasks are real processes.
 *
 * It shows that requests are well formed and that what is built on them does its work. It does not show how AWS behaves.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import * as scalingClient from '@aws-sdk/client-application-auto-scaling';
import * as cloudwatchClient from '@aws-sdk/client-cloudwatch';
import * as ecsClient from '@aws-sdk/client-ecs';
import { answerAgent } from './agent.ts';
import { TestCloudWatch } from './cloudwatch.ts';
import { TestEcs, type TestEcsOptions } from './ecs.ts';
import { AwsRefusal, type Fault, Faults } from './faults.ts';
import { TestScaling, type TestScalingOptions } from './scaling.ts';
import { faultsOf, knowsError, schemasOf } from './schema.ts';

/** One action of a service: what it does with a request. */
export type Actions = Readonly<Record<string, (input: never) => object | Promise<object>>>;

interface Service {
  readonly client: object;
  readonly actions: Actions;
  /** What it calls a request that is not well formed. */
  readonly malformed: string;
}

/** A request that came, and what became of it. */
export interface SeenRequest {
  readonly action: string;
  readonly input: Readonly<Record<string, unknown>>;
  /** Name of the error that was answered, if one was. */
  error?: string;
}

export interface AwsServerOptions extends TestEcsOptions, TestScalingOptions {}

/** Starts the server on a free port of 127.0.0.1. */
export async function startAwsServer(options: AwsServerOptions = {}): Promise<AwsServer> {
  const server = new AwsServer(options);
  await server.listen();
  return server;
}

export class AwsServer implements AsyncDisposable {
  readonly ecs: TestEcs;
  readonly cloudwatch: TestCloudWatch;
  readonly scaling: TestScaling;
  readonly requests: SeenRequest[] = [];
  readonly #faults = new Faults();
  readonly #http: Server;
  readonly #services: Readonly<Record<string, Service>>;

  constructor(options: AwsServerOptions) {
    this.ecs = new TestEcs(options, () => this.env);
    this.cloudwatch = new TestCloudWatch();
    this.scaling = new TestScaling(this.ecs, this.cloudwatch, options);
    this.#services = {
      AmazonEC2ContainerServiceV20141113: {
        client: ecsClient,
        actions: this.ecs.actions,
        malformed: 'InvalidParameterException',
      },
      GraniteServiceVersion20100801: {
        client: cloudwatchClient,
        actions: this.cloudwatch.actions,
        malformed: 'InvalidParameterValueException',
      },
      AnyScaleFrontendService: {
        client: scalingClient,
        actions: this.scaling.actions,
        malformed: 'ValidationException',
      },
    };
    this.#http = createServer((request, response) => void this.#answer(request, response));
  }

  async listen(): Promise<void> {
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** The environment in which the SDK's clients speak to this server. */
  get env(): Record<string, string> {
    return {
      AWS_REGION: this.ecs.region,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_ENDPOINT_URL_ECS: this.endpoint,
      AWS_ENDPOINT_URL_CLOUDWATCH: this.endpoint,
      AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING: this.endpoint,
    };
  }

  /** Has requests fail; returns what ends that. */
  fail(fault: Fault): () => void {
    return this.#faults.add(fault);
  }

  /** The inputs of the requests of one action, in order. */
  inputs(action: string): Readonly<Record<string, unknown>>[] {
    return this.requests.filter((one) => one.action === action).map(({ input }) => input);
  }

  /** Ends all tasks, and the server. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.scaling.stop();
    await this.ecs.stop();
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await bodyOf(request);
      const agent = await answerAgent(this.ecs, { method: request.method ?? '', url: request.url ?? '', body });
      if (agent) return send(response, agent.status, agent.body);
      await this.#act(request, response, body);
    } catch (error) {
      if (error instanceof AwsRefusal) return refuse(response, error);
      refuse(response, new AwsRefusal('TestServerFault', String(error), { status: 500 }));
    }
  }

  async #act(request: IncomingMessage, response: ServerResponse, body: string): Promise<void> {
    const [prefix = '', action = ''] = String(request.headers['x-amz-target']).split('.');
    const service = this.#services[prefix];
    const schemas = service && schemasOf(service.client, action);
    const act = service?.actions[action] as ((input: object) => object | Promise<object>) | undefined;
    if (!schemas || !act) throw new AwsRefusal('UnknownOperationException', `${prefix}.${action} is not known here`);
    if (!request.headers.authorization) throw new AwsRefusal('MissingAuthenticationToken', 'the request is not signed');
    const input = JSON.parse(body) as Record<string, unknown>;
    const seen: SeenRequest = { action, input };
    this.requests.push(seen);
    try {
      const faults = faultsOf(input, schemas.input);
      if (faults.length > 0) throw new AwsRefusal(service.malformed, faults.join('; '));
      const ordered = this.#faults.next(action, input);
      if (ordered && 'error' in ordered) {
        const { error, message, ...more } = ordered;
        throw new AwsRefusal(error, message, more);
      }
      if (ordered && 'drop' in ordered && ordered.drop === 'before') return void response.destroy();
      const output = ordered && 'body' in ordered ? ordered.body : await act(input);
      if (ordered && 'drop' in ordered) return void response.destroy();
      const wrong = faultsOf(JSON.parse(JSON.stringify(output)), schemas.output);
      if (wrong.length > 0) throw new Error(`an answer that AWS does not give: ${wrong.join('; ')}`);
      send(response, 200, output);
    } catch (error) {
      seen.error = error instanceof AwsRefusal ? error.name : 'TestServerFault';
      if (
        error instanceof AwsRefusal &&
        !/Throttling|AccessDenied/.test(error.name) &&
        !knowsError(service.client, error.name)
      )
        throw new Error(`an error that the service does not know: ${error.name}`);
      throw error;
    }
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const bytes = Buffer.concat(parts);
  return (request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString();
}

function refuse(response: ServerResponse, { name, message, status, more }: AwsRefusal): void {
  send(response, status, { __type: name, message, ...more });
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
  response.end(JSON.stringify(body));
}
