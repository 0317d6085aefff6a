/** The web process: takes an upload, sends the task, and shows how far it is. The browser waits for no container. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { app, importUpload } from './app.ts';
import { storeUpload } from './uploads.ts';

/** Largest file, in bytes. */
const MAX_BYTES = 50_000_000;

/** A server that is not listening yet. */
export function webServer(): Server {
  return createServer((request, response) => {
    answer(request, response).catch((error: Error) => {
      console.error(error);
      send(response, 500, { error: 'Something went wrong. Try again.' });
    });
  });
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  if (request.method === 'GET' && pathname === '/') return page(response);
  if (request.method === 'POST' && pathname === '/uploads') {
    return upload(request, response, searchParams.get('name') ?? 'upload.csv');
  }
  const [, id] = /^\/uploads\/([\w-]+)$/.exec(pathname) ?? [];
  if (request.method === 'GET' && id !== undefined) return show(response, id);
  send(response, 404, { error: 'There is no such page.' });
}

/** The file goes to S3, and its name into the message: a queue is no place for files. */
async function upload(request: IncomingMessage, response: ServerResponse, name: string): Promise<void> {
  const data = await bodyOf(request);
  if (!data) return send(response, 413, { error: `The file is larger than ${MAX_BYTES} bytes.` });
  if (data.length === 0) return send(response, 400, { error: 'The file is empty.' });
  const id = randomUUID();
  await storeUpload(id, data);
  await importUpload.applyAsync([id, name], { taskId: id });
  send(response, 202, { id }, { location: `/uploads/${id}` });
}

async function show(response: ServerResponse, id: string): Promise<void> {
  const result = app.result(id);
  send(response, 200, { state: await result.state, info: (await result.info) ?? null });
}

async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > MAX_BYTES) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function send(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function page(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
  response.end(`<!doctype html><title>CSV import</title>
<h1>CSV import</h1><input type="file" accept=".csv"><pre></pre>
<script type="module">
const [input, out] = [document.querySelector('input'), document.querySelector('pre')];
input.onchange = async () => {
  const [file] = input.files;
  const { id, error } = await (await fetch('/uploads?name=' + encodeURIComponent(file.name), { method: 'POST', body: file })).json();
  for (let state = ''; id && !/SUCCESS|FAILURE|REVOKED/.test(state); await new Promise((go) => setTimeout(go, 500))) {
    const now = await (await fetch('/uploads/' + id)).json();
    state = now.state;
    out.textContent = file.name + ': ' + state + ' ' + JSON.stringify(now.info);
  }
  if (error) out.textContent = error;
};
</script>`);
}

if (import.meta.main) {
  const port = Number(process.env.PORT ?? 8000);
  webServer().listen(port, () => console.log(`listening on http://localhost:${port}`));
}
