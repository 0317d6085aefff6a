import { describe, expect, test } from 'vitest';
import { redisLocation } from '../../../src/stores/redis/url.ts';

const address = (url: string, options = {}) => redisLocation(url, options).address;

describe('a Redis URL', () => {
  test.each([
    ['redis://', { host: 'localhost', port: 6379, db: 0 }],
    ['redis://cache.example:6380/3', { host: 'cache.example', port: 6380, db: 3 }],
    ['redis:///2', { host: 'localhost', port: 6379, db: 2 }],
    ['redis://:p%40ss%2F@host', { host: 'host', port: 6379, db: 0, password: 'p@ss/' }],
    ['redis://ada:secret@[::1]:7000/1', { host: '::1', port: 7000, db: 1, username: 'ada', password: 'secret' }],
    ['redis+socket:///run/redis.sock?virtual_host=4', { path: '/run/redis.sock', db: 4 }],
  ])('%s says where', (url, expected) => {
    expect(address(url)).toEqual(expected);
  });

  test('of sentinels names them all, the master is an option', () => {
    const url = 'sentinel://:pw@a:26380/1;sentinel://b';
    const options = { master_name: 'main', sentinel_kwargs: { password: 'guard' } };
    expect(address(url, options)).toEqual({
      sentinels: [
        { host: 'a', port: 26380 },
        { host: 'b', port: 26379 },
      ],
      masterName: 'main',
      db: 1,
      password: 'pw',
      sentinelPassword: 'guard',
    });
    expect(() => address(url)).toThrow(/masterName/);
  });

  test.each([
    ['', true],
    ['?ssl_cert_reqs=CERT_REQUIRED', true],
    ['?ssl_cert_reqs=optional', true],
    ['?ssl_cert_reqs=none', false],
    ['?sslCertReqs=CERT_NONE', false],
  ])('rediss://host%s checks certificates: %s', (query, checked) => {
    expect(address(`rediss://host${query}`).tls?.rejectUnauthorized).toBe(checked);
  });

  test("options come in our spelling and in kombu's, from the URL and beside it", () => {
    const location = redisLocation('redis://h?visibility_timeout=60&leaseTimeout=5&priority_steps=0,5', {
      global_keyprefix: 'app:',
      health_check_interval: 25,
      queue_order_strategy: 'sorted',
    });
    expect(location).toMatchObject({ visibilityMs: 60_000, leaseMs: 5000, keyPrefix: 'app:' });
    expect(location.options.prioritySteps).toEqual([0, 5]);
  });

  test.each([
    ['redis://h?visibilty_timeout=1', {}, /did you mean 'visibilityTimeout'/],
    ['redis://h/x', {}, /number of a database/],
    ['redis://a;redis://b', {}, /several servers/],
    ['redis://h:port', {}, /expected \[user/],
    ['redis://h?priority_steps=3,6', {}, /begins with 0/],
    ['rediss://h?ssl_cert_reqs=maybe', {}, /one of/],
    ['rediss://h?ssl_ca_certs=/no/such/file', {}, /cannot be read/],
    ['redis+socket://nowhere', {}, /redis\+socket:\/\/\/path/],
    ['unix:///run/redis.sock', {}, /expected a URL such as redis:/],
  ])('%s is refused', (url, options, message) => {
    expect(() => redisLocation(url, options)).toThrow(message);
  });

  test('never shows its password', () => {
    expect(redisLocation('redis://ada:s3cret@h').url).not.toContain('s3cret');
    expect(redisLocation('sentinel://:s3cret@a;sentinel://:s3cret@b?master_name=m').url).not.toContain('s3cret');
    expect(() => redisLocation('redis://:s3cret@h/x')).toThrow(expect.not.stringContaining('s3cret'));
  });
});
