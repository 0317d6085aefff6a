import { randomBytes } from 'node:crypto';
import type { LimitStore } from '../../contracts/limits.ts';
import type { CasStore } from '../cas.ts';
import { CasLimits, type Reservations } from '../cas-limits.ts';
import { isExpired } from './items.ts';
import { type DynamodbTable, type Item, num, numberOf } from './table.ts';

/** The claims and rates of a table: an item for each key, and for each reserved moment. */
export function dynamodbLimits(table: DynamodbTable): LimitStore {
  return new CasLimits(dynamodbCas(table), dynamodbReservations(table), table.parallelWrites);
}

function dynamodbCas(table: DynamodbTable): CasStore {
  return {
    now: () => table.clock.now(),
    async read(key) {
      const item = await table.get(key);
      const value = item && !isExpired(item, table.clock.now()) ? item.value?.S : undefined;
      return { value, version: item?.version?.S };
    },
    async write(key, value, until, seen) {
      const version = randomBytes(9).toString('base64url');
      const item = { id: { S: key }, value: { S: value }, version: { S: version }, ...endsAt(until) };
      const condition =
        seen === undefined
          ? {
              expression: 'attribute_not_exists(#id) OR #until <= :now',
              names: { '#id': 'id', '#until': 'until' },
              values: { ':now': num(table.clock.now()) },
            }
          : { expression: '#version = :seen', names: { '#version': 'version' }, values: { ':seen': { S: seen } } };
      return (await table.put(item, condition)) ? version : undefined;
    },
  };
}

function dynamodbReservations(table: DynamodbTable): Reservations {
  return {
    async getMany(names) {
      const items = await table.getMany(names, { consistent: true });
      const now = table.clock.now();
      return names.map((name) => {
        const item = items.get(name);
        return item && !isExpired(item, now) ? numberOf(item, 'moment') : undefined;
      });
    },
    async setMany(reserved) {
      await table.putMany(
        reserved.map(({ name, moment, until }): Item => ({ id: { S: name }, moment: num(moment), ...endsAt(until) })),
      );
    },
    removeMany: (names) => table.removeMany(names),
  };
}

/** What is over already is removed as well: DynamoDB leaves items alone whose `ttl` is years ago. */
function endsAt(until: number): Item {
  return { until: num(until), ttl: num(Math.ceil(Math.max(until, Date.now()) / 1000)) };
}
