/** Migrates in a process of its own, which kills itself at one call of one of the brokers. Its last argument is a {@link Crash} as JSON. */
import { redisBroker } from '../../src/brokers/redis.ts';
import { sqliteBroker } from '../../src/brokers/sqlite.ts';
import { sqsBroker } from '../../src/brokers/sqs.ts';
import type { Broker } from '../../src/contracts/broker.ts';
import { migrate } from '../../src/migrate/migrate.ts';
import { type Crash, crashing } from './crashing-broker.ts';

const [fromUrl = '', toUrl = '', journal = '', crash = ''] = process.argv.slice(2);
const open = async (url: string): Promise<Broker> => {
  const make = { redis: redisBroker, sqlite: sqliteBroker, sqs: sqsBroker }[url.split(':')[0] ?? ''];
  if (!make) throw new Error(url);
  const broker = make(url);
  await broker.start();
  return broker;
};

const plan: Crash = JSON.parse(crash);
const [from, to] = [await open(fromUrl), await open(toUrl)];
const report = await migrate({
  from: plan.at === 'source' ? crashing(from, plan) : from,
  to: plan.at === 'destination' ? crashing(to, plan) : to,
  queues: ['celery', 'mail'],
  journal,
  leaseMs: 3000,
  signal: new AbortController().signal,
});
console.log(JSON.stringify(report));
await from.stop();
await to.stop();
