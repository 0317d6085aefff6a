import type { Permission } from '../contracts/setup.ts';

/** A statement of an IAM policy. */
export interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition?: NonNullable<Permission['condition']>;
}

/** An IAM policy. */
export interface Policy {
  readonly Version: '2012-10-17';
  readonly Statement: readonly Statement[];
}

/** Most characters of a managed policy, white space not counted; an inline policy of a role takes 10,240. */
export const MAX_POLICY_LENGTH = 6144;

/** Writes permissions as a policy: one statement for all actions that are allowed on the same resources, under the same condition. */
export function policyOf(permissions: readonly Permission[]): Policy {
  const allowed = new Map<string, Allowed>();
  for (const { action, resource, condition } of permissions) {
    // As text, to tell them apart.
    const key = JSON.stringify([action, condition]);
    const known = allowed.get(key) ?? { action, condition, resources: new Set() };
    known.resources.add(resource);
    allowed.set(key, known);
  }
  // Actions of one service on the same resources.
  const groups = Map.groupBy([...allowed.values()].sort(byName), ({ action, condition, resources }) => {
    return JSON.stringify([serviceOf(action), condition, ...[...resources].sort()]);
  });
  const used = new Map<string, number>();
  const Statement = [...groups.values()].flatMap((group): Statement[] => {
    const [first] = group;
    if (!first) return [];
    const service = serviceOf(first.action);
    const number = (used.get(service) ?? 0) + 1;
    used.set(service, number);
    return [
      {
        Sid: `Lovage${service.charAt(0).toUpperCase()}${service.slice(1)}${number}`,
        Effect: 'Allow',
        Action: group.map(({ action }) => action),
        Resource: [...first.resources].sort(),
        ...(first.condition && { Condition: first.condition }),
      },
    ];
  });
  return { Version: '2012-10-17', Statement };
}

interface Allowed {
  readonly action: string;
  readonly condition: Permission['condition'];
  readonly resources: Set<string>;
}

function serviceOf(action: string): string {
  return action.split(':')[0] ?? '';
}

function byName(a: Allowed, b: Allowed): number {
  return a.action < b.action ? -1 : 1;
}
