import { Command, Option } from 'commander';
import type { Role } from '../../contracts/setup.ts';
import { MAX_POLICY_LENGTH, policyOf } from '../policy.ts';
import { run, status } from '../run.ts';
import { storeNeeds } from '../store-needs.ts';
import { accountNumber, list } from '../values.ts';
import { storesOf } from './setup.ts';

interface Options {
  readonly role: Role;
  readonly queues?: readonly string[];
  readonly account?: string;
}

/** `lovage iam`: the policy that a role needs, and no more. */
export function iamCommand(): Command {
  return new Command('iam')
    .description('print the IAM policy that a role needs for the broker and result backend of the app, and no more')
    .addOption(
      new Option('--role <role>', 'who it is for: producer, worker or setup')
        .choices(['producer', 'worker', 'setup'])
        .makeOptionMandatory(),
    )
    .option('-Q, --queues <queues>', 'these queues; without it all that the app knows', list)
    .option('--account <number>', 'AWS account, where it cannot be known from URLs', accountNumber)
    .action(
      run<[Options]>(async (session, { role, queues, account }) => {
        const app = await session.app();
        const needs = storeNeeds(app, { queues, account });
        const { broker, backend } = await app.stores();
        const stores = storesOf(broker, backend);
        const permissions = await Promise.all(stores.map((store) => store.setup?.permissions(role, needs) ?? []));
        const policy = policyOf(permissions.flat());
        if (policy.Statement.length === 0) {
          session.out.answer(
            null,
            () => `${stores.map(({ url }) => url).join(' and ')}: no permissions of AWS are needed.`,
          );
          return status.ok;
        }
        const length = JSON.stringify(policy).length;
        session.out.answer(policy, () => JSON.stringify(policy, undefined, 2));
        if (length > MAX_POLICY_LENGTH) {
          session.out.note(
            `the policy has ${length} characters; a managed policy takes ${MAX_POLICY_LENGTH}. Make one for each part of the queues (-Q), or an inline policy`,
          );
        }
        return status.ok;
      }),
    );
}
