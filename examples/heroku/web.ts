/** The web process: a form that sends a report, and a page that shows what became of it. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { failurePage, formPage, progressPage, reportPage } from './pages.ts';
import { app, parts, type Report, report } from './tasks.ts';

/** Longest text, in bytes: a queue is no place for files. */
const maxBytes = 10_000;

const server = createServer((request, response) => {
  answer(request, response).catch((error: Error) => {
    console.error(error);
    send(response, 500, failurePage('Something went wrong. Try again.'));
  });
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  const [, id] = /^\/reports\/([\w-]+)$/.exec(pathname) ?? [];
  if (request.method === 'POST' && pathname === '/reports') return order(request, response);
  if (request.method === 'GET' && pathname === '/') return send(response, 200, formPage());
  if (request.method === 'GET' && id !== undefined) return show(id, response);
  send(response, 404, failurePage('There is no such page.'));
}

/** Takes a form, sends the task, and leads on to its page: the browser waits for no worker. */
async function order(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request);
  if (body === undefined) return send(response, 413, failurePage(`The text is longer than ${maxBytes} bytes.`));
  const text = new URLSearchParams(body).get('text') ?? '';
  if (text.trim() === '') return send(response, 400, failurePage('There is no text to count.'));
  const { id } = await report.delay(text);
  response.writeHead(303, { location: `/reports/${id}` }).end();
}

async function show(id: string, response: ServerResponse): Promise<void> {
  const result = app.result<Report>(id);
  const state = await result.state;
  if (state === 'SUCCESS') return send(response, 200, reportPage(await result.get({ timeout: 5 })));
  if (state === 'FAILURE') return send(response, 200, failurePage('The report could not be made.'));
  const done = state === 'PROGRESS' ? await result.info : undefined;
  send(response, 200, progressPage(partOf(done), parts));
}

function partOf(progress: unknown): number {
  const { part } = Object(progress);
  return typeof part === 'number' ? part : 0;
}

/** The body of a form; `undefined` where it is too long. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, status: number, page: string): void {
  if (!response.headersSent) response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' });
  response.end(page);
}

function stop(): void {
  server.close(() => void app.close());
  server.closeIdleConnections();
}

process.once('SIGTERM', stop).once('SIGINT', stop);
const port = Number(process.env.PORT || 5000);
server.listen(port, () => console.log(`listening on port ${port}`));
