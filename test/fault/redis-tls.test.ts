import { expect, test } from 'vitest';
import { Certificate } from '../support/certificate.ts';
import { freePort } from '../support/redis-server.ts';
import { RedisShop } from '../support/redis-shop.ts';

/** A Redis that speaks TLS on a second port. */
async function secureShop(certificate: Certificate) {
  const port = await freePort();
  const files = ['--tls-cert-file', certificate.certFile, '--tls-key-file', certificate.keyFile];
  const shop = await RedisShop.open({
    args: ['--tls-port', String(port), ...files, '--tls-auth-clients', 'no'],
  });
  return { shop, secure: `rediss://127.0.0.1:${port}/0`, plainToSecure: `redis://127.0.0.1:${port}/0` };
}

const soon = { socketConnectTimeout: 1.5 };

async function works(shop: RedisShop, url: string, options: Readonly<Record<string, unknown>> = {}) {
  await shop.worker(shop.app(url, options));
  return (await shop.app(url, options).sendTask('tasks.work', ['safe'])).get({ timeout: 10 });
}

test('rediss:// to a port without TLS: the error asks for that', async () => {
  await using shop = await RedisShop.open();
  const url = shop.server.url.replace('redis:', 'rediss:');
  await expect(shop.worker(shop.app(url, soon))).rejects.toThrow(/rediss:\/\/127.*(is it|on one side).*rediss/i);
});

test('redis:// to a port with TLS: the error asks for that', async () => {
  using certificate = new Certificate();
  const { shop, plainToSecure } = await secureShop(certificate);
  await using _ = shop;
  await expect(shop.worker(shop.app(plainToSecure, soon))).rejects.toThrow(
    /redis:\/\/127.*redis:\/\/ on one side and rediss:\/\/ on the other/,
  );
});

test('a certificate that nobody vouches for is refused at once, unless it is given or any is taken', async () => {
  using certificate = new Certificate();
  const { shop, secure } = await secureShop(certificate);
  await using _ = shop;
  await expect(shop.worker(shop.app(secure))).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(
      /no safe connection \(self-signed certificate.*\).*ssl_ca_certs, or ssl_cert_reqs=none/,
    ),
  });
  expect(await works(shop, secure, { sslCaCerts: certificate.certFile })).toBe('safe');
  expect(await works(shop, `${secure}?ssl_cert_reqs=none`)).toBe('safe');
});

test('a certificate of another host is refused, unless that is not looked at', async () => {
  using certificate = new Certificate('DNS:redis.example');
  const { shop, secure } = await secureShop(certificate);
  await using _ = shop;
  const trusted = { sslCaCerts: certificate.certFile };
  await expect(shop.worker(shop.app(secure, trusted))).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(/no safe connection.*(redis\.example|altnames)/),
  });
  expect(await works(shop, secure, { ...trusted, sslCheckHostname: false })).toBe('safe');
});

test('a file of certificates that is not there is named', async () => {
  await using shop = await RedisShop.open();
  const url = shop.server.url.replace('redis:', 'rediss:');
  await expect(shop.worker(shop.app(url, { sslCaCerts: '/no/such/file.pem' }))).rejects.toThrow(
    /sslCaCerts cannot be read: ENOENT.*\/no\/such\/file\.pem/,
  );
});
