import type { Check, Diagnosis } from '../../contracts/diagnosis.ts';
import type { StoreNeeds } from '../../contracts/setup.ts';
import { clockCheck } from '../aws/clock.ts';
import { permissionChecks } from '../aws/refusals.ts';
import { blobChecks } from '../blob-checks.ts';
import { openS3Large } from './large-s3.ts';
import { TTL_ATTRIBUTE, withAdmin } from './setup.ts';
import { type DynamodbTable, openTable } from './table.ts';
import type { DynamodbLocation } from './url.ts';

/** For `lovage doctor`: whether the table can be used, what is allowed, and what a task costs. */
export function diagnoseDynamodb(location: DynamodbLocation, needs: StoreNeeds): Promise<Diagnosis> {
  const large = openS3Large(location);
  return withAdmin(location, async (admin) => {
    const what = `table ${location.table}`;
    const usage = [
      { price: 'dynamodb.write', what: 'stored results (units of 1 KB)', perTask: 1 },
      {
        price: 'dynamodb.read',
        what: 'looks whether a task was revoked, and for its result where somebody waits',
        perTask: location.cleanKeys ? 3 : 2,
      },
    ];
    const table = await admin.table();
    if (!table) {
      const missing: Check = { what, verdict: 'problem', found: 'not there', advice: 'lovage setup creates it' };
      return { checks: [missing], usage };
    }
    const isActive = table.TableStatus === 'ACTIVE' || table.TableStatus === 'UPDATING';
    const own: Check = isActive
      ? { what, verdict: 'ok', found: String(table.TableStatus) }
      : { what, verdict: 'problem', found: String(table.TableStatus), advice: 'wait until it is ACTIVE' };
    const billing = table.BillingModeSummary?.BillingMode;
    const isByUse = billing === 'PAY_PER_REQUEST';
    const paid: Check = isByUse
      ? { what: `${what}: payment`, verdict: 'ok', found: 'by use' }
      : {
          what: `${what}: payment`,
          verdict: 'note',
          found: `provisioned, ${table.ProvisionedThroughput?.WriteCapacityUnits ?? 0} writes and ${table.ProvisionedThroughput?.ReadCapacityUnits ?? 0} reads a second; what is more is throttled`,
        };
    const { TimeToLiveStatus: status = 'DISABLED', AttributeName: attribute } = await admin.ttl();
    const removes = status.startsWith('ENABL') && attribute === TTL_ATTRIBUTE;
    const ttl: Check = removes
      ? { what: `${what}: removal of old items`, verdict: 'ok', found: `by ${TTL_ATTRIBUTE}` }
      : {
          what: `${what}: removal of old items`,
          verdict: 'warning',
          found: status.startsWith('ENABL') ? `by ${attribute}` : 'off',
          advice: 'old results stay and are paid for: lovage setup turns it on',
        };
    const allowed = await useChecks(location, what);
    const beside = large ? await blobChecks(large, needs) : [];
    return { checks: [own, paid, ttl, ...allowed, clockCheck(admin.clock), ...beside], usage };
  });
}

const NOTHING = 'lovage-doctor';
const IF_THERE = { expression: 'attribute_exists(#id)', names: { '#id': 'id' } };

/** What workers and senders do to a table, with an item that is not there. */
function usesOf(table: DynamodbTable) {
  return {
    get: () => table.get(NOTHING),
    'get many': () => table.getMany([NOTHING], { consistent: false }),
    put: () => table.put({ id: { S: NOTHING } }, IF_THERE),
    update: () => table.update(NOTHING, 'REMOVE lovage', IF_THERE),
    delete: () => table.remove(NOTHING, IF_THERE),
    'write many': () => table.removeMany([NOTHING]),
  };
}

async function useChecks(location: DynamodbLocation, what: string): Promise<Check[]> {
  const table = await openTable(location);
  try {
    return await permissionChecks(what, usesOf(table));
  } finally {
    table.close();
  }
}
