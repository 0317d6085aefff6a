import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, test } from 'vitest';
import { sqliteBackend } from '../../src/backends/sqlite.ts';
import { sqliteBroker } from '../../src/brokers/sqlite.ts';
import { ConfigError, StoreCorruptError, StoreLockedError } from '../../src/errors.ts';
import { take } from '../../src/testing/broker-world.ts';
import { ChildRunner } from '../../src/testing/child-runner.ts';
import { eventually, testMessage } from '../../src/testing/index.ts';
import { idsOf } from '../../src/testing/message.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-'));
  path = join(folder, 'tasks.db');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const brokerUrl = import.meta.resolve('../../src/brokers/sqlite.ts');

async function makeStore(messages = 0): Promise<void> {
  const broker = sqliteBroker(`sqlite://${path}`);
  await broker.start();
  const outgoing = Array.from({ length: messages }, () => ({ queue: 'q', message: testMessage() }));
  await broker.publishMany(outgoing);
  await broker.stop();
}

describe('a locked file', () => {
  let locker: ChildProcess | undefined;
  afterEach(() => locker?.kill('SIGKILL'));

  /** Another process that holds the file until it is told to let go. */
  async function lock(): Promise<ChildProcess> {
    const code = `
      import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
      const db = new DatabaseSync(process.argv[1]);
      db.exec('BEGIN EXCLUSIVE');
      process.stdout.write('locked');
      process.stdin.once('data', () => { db.exec('COMMIT'); process.exit(); });`;
    const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', code, path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    locker = child;
    await once(child.stdout, 'data');
    return child;
  }

  test('is waited for, and then the error says so, without blocking the event loop', async () => {
    await makeStore();
    const broker = sqliteBroker(`sqlite://${path}?busyTimeout=0.5`);
    await broker.start();
    await lock();
    let longest = 0;
    let last = performance.now();
    const pulse = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const start = performance.now();
    const publishes = Array.from({ length: 5 }, () => broker.publishMany([{ queue: 'q', message: testMessage() }]));
    await assert.rejects(Promise.race(publishes), (error: Error) => {
      assert.ok(error instanceof StoreLockedError, `got ${error}`);
      assert.equal(error.retryable, true);
      assert.match(error.message, /locked by another process for more than 0.5 s/);
      return true;
    });
    const waited = performance.now() - start;
    clearInterval(pulse);
    assert.ok(waited >= 490 && waited < 3000, `waited ${waited} ms`);
    assert.ok(longest < 150, `the event loop stood still for ${longest} ms`);
    locker?.kill('SIGKILL');
    await Promise.allSettled(publishes);
    await broker.stop();
  });

  test('that is let go in time does no harm', async () => {
    await makeStore();
    const broker = sqliteBroker(`sqlite://${path}`);
    await broker.start();
    const child = await lock();
    const publishing = broker.publishMany([{ queue: 'q', message: testMessage() }]);
    child.stdin?.write('let go');
    assert.deepEqual(await publishing, []);
    assert.equal((await broker.countMany(['q']))[0]?.ready, 1);
    await broker.stop();
  });

  test('by a process that was killed is free again', async () => {
    await makeStore();
    const broker = sqliteBroker(`sqlite://${path}`);
    await broker.start();
    const child = await lock();
    const publishing = broker.publishMany([{ queue: 'q', message: testMessage() }]);
    child.kill('SIGKILL');
    assert.deepEqual(await publishing, []);
    await broker.stop();
  });
});

describe('a file that cannot be written', () => {
  /** Starts a broker on the file as a user whom file modes bind, and gives the error it got. */
  function startElsewhere(): { name: string; message: string } {
    const code = `
      const { sqliteBroker } = await import(process.argv[1]);
      const broker = sqliteBroker('sqlite://' + process.argv[2]);
      const error = await broker.start().catch((error) => error);
      console.log(JSON.stringify({ name: error?.name ?? 'none', message: error?.message ?? '' }));
      await broker.stop();`;
    const isRoot = process.getuid?.() === 0;
    const child = spawnSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', code, brokerUrl, path], {
      ...(isRoot ? { uid: 65534, gid: 65534 } : {}),
      encoding: 'utf8',
      cwd: '/',
    });
    assert.equal(child.status, 0, child.stderr);
    return JSON.parse(child.stdout);
  }

  test('says that the file is read-only', async () => {
    await makeStore();
    chmodSync(folder, 0o777);
    chmodSync(path, 0o444);
    const { name, message } = startElsewhere();
    assert.equal(name, 'StoreReadOnlyError', message);
    assert.match(message, /tasks\.db can be read but not written/);
  });

  test('says that the folder is read-only', async () => {
    await makeStore();
    chmodSync(path, 0o666);
    chmodSync(folder, 0o555);
    assert.equal(startElsewhere().name, 'StoreReadOnlyError');
    rmSync(path);
    assert.equal(startElsewhere().name, 'StoreReadOnlyError');
    chmodSync(folder, 0o755);
  });

  test('says that its folder cannot be made', () => {
    chmodSync(folder, 0o555);
    path = join(folder, 'new', 'tasks.db');
    assert.equal(startElsewhere().name, 'StoreReadOnlyError');
    chmodSync(folder, 0o755);
  });

  test('is written where the modes allow it', () => {
    chmodSync(folder, 0o777);
    if (process.getuid?.() === 0) chownSync(folder, 65534, 65534);
    assert.equal(startElsewhere().name, 'none');
  });
});

describe('a file that is not a store of ours', () => {
  async function startError(): Promise<Error> {
    const errors: Error[] = [];
    for (const service of [sqliteBroker(`sqlite://${path}`), sqliteBackend(`sqlite://${path}`)]) {
      await assert.rejects(service.start(), (error: Error) => errors.push(error) > 0);
      await service.stop();
    }
    const [error] = errors;
    assert.ok(error instanceof StoreCorruptError, `got ${error}`);
    return error;
  }

  test('because it is no database', async () => {
    writeFileSync(path, 'dear diary '.repeat(1000));
    assert.match((await startError()).message, /a file that is no SQLite database/);
    assert.match(readFileSync(path, 'utf8'), /^dear diary/);
  });

  test('because it is a folder', async () => {
    mkdirSync(path);
    assert.match((await startError()).message, /got a folder/);
  });

  test("because it is another program's database, which stays as it was", async () => {
    const db = new DatabaseSync(path);
    db.exec('CREATE TABLE songs (title TEXT)');
    db.close();
    const before = readFileSync(path);
    assert.match((await startError()).message, /the SQLite database of another program/);
    assert.ok(readFileSync(path).equals(before));
  });

  test('because a newer version wrote it', async () => {
    await makeStore();
    const db = new DatabaseSync(path);
    db.exec('PRAGMA user_version = 99');
    db.close();
    assert.match((await startError()).message, /expected schema 1 to 2, got 99.*Upgrade lovage/);
  });
});

describe('a file of an older version', () => {
  /** As version 1 made it: without claims and rates. */
  function makeOld(): void {
    const db = new DatabaseSync(path);
    db.exec('DROP TABLE claims; DROP TABLE rates; DROP TABLE reservations; PRAGMA user_version = 1');
    db.close();
  }

  test('is brought up to date, with all that is in it', async () => {
    await makeStore(3);
    makeOld();
    const backend = sqliteBackend(`sqlite://${path}`);
    await backend.start();
    const claims = [{ key: 'k', holder: 'h', leaseMs: 1000 }];
    assert.deepEqual(await backend.limits?.claimMany(claims), [{ granted: true }]);
    await backend.stop();
    const broker = sqliteBroker(`sqlite://${path}`);
    await broker.start();
    assert.equal((await broker.countMany(['q']))[0]?.ready, 3);
    await broker.stop();
  });

  test('is brought up to date once where several open it, beside a process that has it open', async () => {
    await makeStore(3);
    const old = sqliteBroker(`sqlite://${path}`);
    await old.start();
    makeOld();
    const children = new ChildRunner();
    const recipe = { module: import.meta.resolve('../../src/backends/sqlite.ts'), factory: 'sqliteBackend' };
    const start = () => {
      const args = [`sqlite://${path}`];
      return children.start({ role: 'claim', recipe: { ...recipe, args }, keys: ['k'], leaseMs: 60_000 });
    };
    const started = [start(), start(), start()];
    try {
      for (const child of started) {
        await eventually(() => assert.deepEqual(child.reports, ['ready']), 20_000);
        child.goOn();
        await eventually(() => assert.equal(child.reports.at(-1), 'all asked'), 20_000);
        await child.finish();
      }
      const granted = started.flatMap(({ reports }) => reports.slice(1, -1));
      assert.deepEqual(granted, ['k']);
      assert.equal((await old.countMany(['q']))[0]?.ready, 3);
    } finally {
      children.killAll();
      await old.stop();
    }
  });
});

test('a damaged file is reported as such', async () => {
  await makeStore(500);
  const file = openSync(path, 'r+');
  const { length } = readFileSync(path);
  writeSync(file, new Uint8Array(length - 4096).fill(0xee), 0, length - 4096, 4096);
  closeSync(file);
  const broker = sqliteBroker(`sqlite://${path}`);
  const use = async () => {
    await broker.start();
    const consumer = await broker.consume(['q']);
    await consumer.receive(10, 0, new AbortController().signal);
  };
  await assert.rejects(use(), (error: Error) => {
    assert.ok(error instanceof StoreCorruptError, `got ${error}`);
    assert.match(error.message, /is damaged.*recover/s);
    return true;
  });
  await broker.stop().catch(() => {});
});

describe('a URL that is wrong', () => {
  const cases: [url: string, expected: RegExp][] = [
    ['sqlite://', /names no file/],
    ['sqlite:', /names no file/],
    ['sqlite://:memory:', /memory:\/\//],
    ['sqlite:///tmp/a.db?visibiltyTimeout=3', /no option 'visibiltyTimeout'.*did you mean 'visibilityTimeout'/],
    ['sqlite:///tmp/a.db?busyTimeout=soon', /'busyTimeout'.*expected a number of seconds from 0 up, got "soon"/],
    ['sqlite:///tmp/a.db?synchronous=off', /'synchronous'.*expected one of 'normal', 'full', got "off"/],
    ['sqlite:///tmp/100%.db', /%25/],
    ['redis://localhost', /expected a URL such as sqlite:/],
  ];
  test.each(cases)('%s', (url, expected) => {
    for (const factory of [sqliteBroker, sqliteBackend]) {
      assert.throws(
        () => factory(url),
        (error: Error) => error instanceof ConfigError && expected.test(error.message),
      );
    }
  });
});

test('a message is found though the wake-up for it was lost', async () => {
  const consuming = sqliteBroker(`sqlite://${path}`);
  await consuming.start();
  const receiving = take(await consuming.consume(['q']), 1);
  // Whoever publishes from here on wakes a file that nobody watches.
  rmSync(`${path}-wake`, { recursive: true });
  const publishing = sqliteBroker(`sqlite://${path}?busyTimeout=4`);
  await publishing.start();
  await publishing.publishMany([{ queue: 'q', message: testMessage() }]);
  assert.equal((await receiving).length, 1);
  await publishing.stop();
  await consuming.stop();
});

test('kill -9 in the middle of publishing loses nothing that was confirmed, and damages nothing', async () => {
  await makeStore();
  const children = new ChildRunner();
  const recipe = { module: brokerUrl, factory: 'sqliteBroker', args: [`sqlite://${path}`] };
  const child = children.start({ role: 'publish', recipe, queue: 'q', count: 20_000 });
  await eventually(() => assert.ok(child.reports.length >= 3000), 20_000);
  await child.kill();
  const confirmed = new Set(child.reports);
  assert.ok(confirmed.size < 20_000, 'the child was quicker than the kill');

  const db = new DatabaseSync(path);
  assert.deepEqual({ ...db.prepare('PRAGMA integrity_check').get() }, { integrity_check: 'ok' });
  db.close();

  const broker = sqliteBroker(`sqlite://${path}`);
  await broker.start();
  const ready = (await broker.countMany(['q']))[0]?.ready ?? 0;
  assert.equal(ready % 50, 0, `a batch of 50 is there in part: ${ready}`);
  const got = new Set(idsOf(await take(await broker.consume(['q']), ready)));
  assert.deepEqual(
    [...confirmed].filter((id) => !got.has(id)),
    [],
  );
  assert.equal(got.size, ready);
  await broker.stop();
});

test('processes that open a new file at the same moment all get it', async () => {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    parentPort.on('message', async (path) => {
      const { sqliteBroker } = await import(workerData);
      const broker = sqliteBroker('sqlite://' + path);
      const error = await broker.start().then(() => undefined, (e) => e.message);
      await broker.stop();
      parentPort.postMessage(error);
    });`;
  const threads = Array.from({ length: 3 }, () => new Worker(code, { eval: true, workerData: brokerUrl }));
  try {
    for (let round = 0; round < 150; round++) {
      const answers = threads.map((thread) => once(thread, 'message'));
      for (const thread of threads) thread.postMessage(`${path}-${round}`);
      assert.deepEqual((await Promise.all(answers)).flat(), [undefined, undefined, undefined]);
    }
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
});
