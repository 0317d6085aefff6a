import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ConfigError } from '../errors.ts';
import type { BacklogReading } from './backlog.ts';
import type { BacklogSink } from './target.ts';

export interface Endpoint extends BacklogSink<BacklogReading> {
  readonly port: number;
}

/**
 * Serves the last reading as JSON, for KEDA's scaler `metrics-api` and whoever else asks: `GET /` has all queues
 * together, `GET /queues/<name>` one, `GET /healthz` only says that it is alive. A reading older than `staleMs` is no
 * answer: 503, so that nobody scales by it.
 * @throws ConfigError where the port is taken
 */
export async function backlogEndpoint({ port, host = '0.0.0.0', staleMs }: EndpointOptions): Promise<Endpoint> {
  let last: BacklogReading | undefined;
  const server = createServer(({ url = '/', method }, response) => {
    const answer = (status: number, body: object) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify(body)}\n`);
    };
    const { pathname } = new URL(url, 'http://localhost');
    if (method !== 'GET' && method !== 'HEAD') return answer(405, { error: 'only GET' });
    if (pathname === '/healthz') return answer(200, { ok: true });
    const [, encoded] = /^\/queues\/([^/]+)$/.exec(pathname) ?? [];
    if (pathname !== '/' && encoded === undefined)
      return answer(404, { error: 'ask for /, /queues/<name> or /healthz' });
    if (!last || Date.now() - last.at.getTime() > staleMs)
      return answer(503, { error: 'the backlog is not known now; see the log of the monitor' });
    if (encoded === undefined) return answer(200, document(last));
    const row = last.queues.find(({ queue }) => encodeURIComponent(queue) === encoded || queue === encoded);
    return row ? answer(200, row) : answer(404, { error: `queue '${encoded}' is not watched` });
  });
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new ConfigError(
      `port ${port} cannot be listened on: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  return {
    name: 'endpoint',
    port: (server.address() as AddressInfo).port,
    async take(reading) {
      last = reading;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface EndpointOptions {
  /** 0 for any that is free. */
  readonly port: number;
  readonly host?: string;
  readonly staleMs: number;
}

/** What `GET /` answers. */
function document({ at, total, tasks, unserved, queues }: BacklogReading): object {
  return {
    at: at.toISOString(),
    backlog: total.messages,
    backlogPerTask: total.perTask,
    backlogSeconds: total.seconds ?? null,
    unserved,
    running: tasks.running,
    pending: tasks.pending,
    queues,
  };
}
