import { expect, test } from 'vitest';
import { MissingPackageError } from '../../../src/errors.ts';
import { loadPeer } from '../../../src/util/load-peer.ts';

const missing = (name: string): Error =>
  Object.assign(new Error(`Cannot find package '${name}' imported from /x.js`), { code: 'ERR_MODULE_NOT_FOUND' });

test('gives what the importer gives', async () => {
  expect(await loadPeer('x', 'tests', async () => 5)).toBe(5);
});

test('a missing package is an error with the command that installs it', async () => {
  const load = loadPeer('some-peer', 'redis:// brokers', () => Promise.reject(missing('some-peer')));
  await expect(load).rejects.toThrow(MissingPackageError);
  await expect(load).rejects.toThrow(/some-peer is needed for redis:\/\/ brokers.*\n {2}npm install some-peer$/);
});

test('what Node itself says of a missing package is understood', async () => {
  const name = 'lovage-no-such-package';
  await expect(loadPeer(name, 'tests', () => import(/* @vite-ignore */ name))).rejects.toThrow(`npm install ${name}`);
});

test('any other failure keeps its cause and does not advise installing', async () => {
  for (const cause of [new Error('boom'), missing('its-own-dependency')]) {
    const error = await loadPeer('some-peer', 'tests', () => Promise.reject(cause)).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(MissingPackageError);
    expect((error as Error).cause).toBe(cause);
    expect((error as Error).message).toMatch(/is installed but could not be loaded/);
    expect((error as Error).message).not.toMatch(/npm install/);
  }
});
