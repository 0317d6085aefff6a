import type { Permission } from '../contracts/setup.ts';

/** A statement of an IAM policy. */
export interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
}

/** An IAM policy. */
export interface Policy {
  readonly Version: '2012-10-17';
  readonly Statement: readonly Statement[];
}

/** Most characters of a managed policy, white space not counted; an inline policy of a role takes 10,240. */
export const MAX_POLICY_LENGTH = 6144;

/** Writes permissions as a policy: one statement for all actions that are allowed on the same resources. */
export function policyOf(permissions: readonly Permission[]): Policy {
  const resources = new Map<string, Set<string>>();
  for (const { action, resource } of permissions) {
    const known = resources.get(action) ?? new Set();
    resources.set(action, known.add(resource));
  }
  // Actions of one service on the same resources, as text, to tell them apart.
  const groups = Map.groupBy([...resources].sort(byName), ([action, on]) => {
    return JSON.stringify([serviceOf(action), ...[...on].sort()]);
  });
  const used = new Map<string, number>();
  const Statement = [...groups.values()].map((group): Statement => {
    const [first = ['', new Set<string>()] as const] = group;
    const service = serviceOf(first[0]);
    const number = (used.get(service) ?? 0) + 1;
    used.set(service, number);
    return {
      Sid: `Lovage${service.charAt(0).toUpperCase()}${service.slice(1)}${number}`,
      Effect: 'Allow',
      Action: group.map(([action]) => action),
      Resource: [...first[1]].sort(),
    };
  });
  return { Version: '2012-10-17', Statement };
}

function serviceOf(action: string): string {
  return action.split(':')[0] ?? '';
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}
