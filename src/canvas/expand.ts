import type { ResultNode } from '../wire/result-tuple.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { bodyIdOf, freeze, groupNode, type IdSource, idOf } from './freeze.ts';
import {
  bodyOf,
  chordOf,
  headerOf,
  kindOf,
  merged,
  signatureIn,
  signaturesIn,
  tasksOf,
  textIn,
  type WireOptions,
  withOptions,
} from './wire-tree.ts';

/** A chord that begins: how many parts its join has, to be told to the store before any of them is sent. */
export interface JoinStart {
  readonly id: string;
  readonly size: number;
  /** Where a member's result is a group's: the header, so that the results of the body have its shape. */
  readonly shape?: ResultNode;
  /** Where its tasks are not found by the id that follows from that of the join: the body, frozen. */
  readonly body?: WireSignature;
}

/** What is to be sent for a signature to run. */
export interface Expansion {
  /** Tasks, each with its id, its group, its chord and what follows it in its options. */
  readonly calls: readonly WireSignature[];
  readonly joins: readonly JoinStart[];
  /** What begins now, as children of the task that sends it. */
  readonly launched: readonly ResultNode[];
}

/**
 * Works out what is sent now for a frozen signature to run with `args` in front of its own, and what travels along for
 * later. `ids` is for what could not be frozen before, such as a group that becomes a chord only now.
 */
export function expand(frozen: WireSignature, args: readonly unknown[], ids: IdSource): Expansion {
  switch (kindOf(frozen)) {
    case 'task':
      return expandTask(frozen, args);
    case 'chain':
      return expandChain(frozen, args, ids);
    case 'group':
      return expandGroup(frozen, args, ids);
    case 'chord':
      return expandChord(frozen, args, ids);
  }
}

const nothing: Expansion = { calls: [], joins: [], launched: [] };

function expandTask(task: WireSignature, args: readonly unknown[]): Expansion {
  const id = textIn(task.options, 'task_id') ?? '';
  const call = task.immutable || args.length === 0 ? task : { ...task, args: [...args, ...task.args] };
  return { calls: [call], joins: [], launched: [{ id }] };
}

/** Its first step, with the others in the order of the wire: the next one last. */
function expandChain(chain: WireSignature, args: readonly unknown[], ids: IdSource): Expansion {
  const [first, ...others] = tasksOf(chain);
  if (!first) return nothing;
  const { task_id: _id, chain: _chain, ...options } = chain.options;
  const rest = [...signaturesIn(chain.options, 'chain'), ...others.toReversed()];
  const given = chain.immutable ? [] : args;
  const step = withOptions(first, { ...options, ...(rest.length > 0 && { chain: rest }) });
  return expand(freeze(step, ids), given, ids);
}

function expandGroup(group: WireSignature, args: readonly unknown[], ids: IdSource): Expansion {
  const rest = signaturesIn(group.options, 'chain');
  const next = rest.at(-1);
  const { chain: _chain, task_id: id, chord, group_id, group_index: _index, ...options } = group.options;
  if (next) {
    const followed = withOptions(next, {
      chain: rest.slice(0, -1),
      chord,
      group_id,
      group_index: group.options.group_index,
    });
    return expand(freeze(chordOf({ ...group, options: { ...options, task_id: id } }, followed), ids), args, ids);
  }
  // A group that ends a member of a chord: its tasks are members of that chord.
  const groupId = chord ? (group_id ?? id) : id;
  const expansions = tasksOf(group).map((member) =>
    expandMember(member, { ...options, group_id: groupId, chord }, { args, ids }),
  );
  const launched = tasksOf(group).length > 0 ? [groupNode(group)] : [];
  return { ...combined(expansions), launched };
}

interface Given {
  readonly args: readonly unknown[];
  readonly ids: IdSource;
}

function expandMember(member: WireSignature, options: WireOptions, { args, ids }: Given): Expansion {
  const { group_id, ...others } = options;
  // A member that says itself to which group it belongs, belongs there.
  const placed = withOptions(member, { ...others, group_id: member.options.group_id ?? group_id });
  return expand(freeze(placed, ids), args, ids);
}

function expandChord(chord: WireSignature, args: readonly unknown[], ids: IdSource): Expansion {
  const header = headerOf(chord);
  const body = bodyOf(chord);
  const members = tasksOf(header);
  const { task_id: _id, ...options } = chord.options;
  const id = textIn(header.options, 'task_id') ?? '';
  const { task_id: _group, chord: _chord, ...own } = header.options;
  const given = chord.immutable ? [] : args;
  const expansions = members.map((member, i) =>
    expandMember(member, { ...merged(own, options), group_id: id, group_index: i, chord: body }, { args: given, ids }),
  );
  const size = members.reduce((sum, member) => sum + partsOf(member), 0);
  // There is nothing to wait for.
  if (size === 0) return combined([...expansions, expand(body, [[]], ids)]);
  const node = groupNode(header);
  const isNested = node.members?.some((one) => one.members !== undefined) ?? false;
  const join = {
    id,
    size,
    ...(isNested && { shape: node }),
    ...((kindOf(body) === 'chord' || idOf(body) !== bodyIdOf(id)) && { body }),
  };
  const all = combined(expansions);
  return { ...all, joins: [join, ...all.joins], launched: [node] };
}

function combined(expansions: readonly Expansion[]): Expansion {
  return {
    calls: expansions.flatMap(({ calls }) => calls),
    joins: expansions.flatMap(({ joins }) => joins),
    launched: expansions.flatMap(({ launched }) => launched),
  };
}

/** How many arrivals a member of a header makes (wire SPEC 6.3): a group all its tasks', a chain its last step's, a chord its body's. */
export function partsOf(member: WireSignature): number {
  switch (kindOf(member)) {
    case 'task':
      return 1;
    case 'group':
      return tasksOf(member).reduce((sum, one) => sum + partsOf(one), 0);
    case 'chain': {
      const parts = tasksOf(member).map(partsOf);
      return parts.findLast((count) => count > 0) ?? 0;
    }
    case 'chord':
      return partsOf(bodyOf(member));
  }
}

/** What becomes of a signature that will never run. */
export interface Abandoned {
  /** All its tasks. */
  readonly taskIds: readonly string[];
  /** The chords outside of it that wait for it. */
  readonly members: readonly AbandonedMember[];
}

export interface AbandonedMember {
  readonly taskId: string;
  readonly joinId: string;
  readonly index: number | undefined;
  readonly body: WireSignature;
}

export function abandoned(frozen: WireSignature, ids: IdSource): Abandoned {
  switch (kindOf(frozen)) {
    case 'task':
      return abandonedTask(frozen, ids);
    case 'chain': {
      const steps = tasksOf(frozen);
      return allOf([...steps, ...signaturesIn(frozen.options, 'chain')], ids);
    }
    case 'group': {
      const { chord, group_id } = frozen.options;
      const placed = tasksOf(frozen).map((member) => withOptions(member, chord ? { chord, group_id } : {}));
      return allOf([...placed, ...signaturesIn(frozen.options, 'chain')], ids);
    }
    case 'chord': {
      // Nobody waits for the members themselves: their join has not begun.
      const header = allOf(tasksOf(headerOf(frozen)), ids).taskIds;
      const body = abandoned(bodyOf(frozen), ids);
      return { taskIds: [...header, ...body.taskIds], members: body.members };
    }
  }
}

function abandonedTask({ options }: WireSignature, ids: IdSource): Abandoned {
  const taskId = textIn(options, 'task_id');
  const rest = allOf(signaturesIn(options, 'chain'), ids);
  if (taskId === undefined) return rest;
  const chord = signatureIn(options, 'chord');
  const joinId = textIn(options, 'group_id');
  const index = typeof options.group_index === 'number' ? options.group_index : undefined;
  const member = chord && joinId !== undefined ? [{ taskId, joinId, index, body: chord }] : [];
  return { taskIds: [taskId, ...rest.taskIds], members: [...member, ...rest.members] };
}

function allOf(signatures: readonly WireSignature[], ids: IdSource): Abandoned {
  const all = signatures.map((one) => abandoned(freeze(one, ids), ids));
  return { taskIds: all.flatMap(({ taskIds }) => taskIds), members: all.flatMap(({ members }) => members) };
}

/** The tasks that a chord waits for, of every chord in a frozen signature, and in what is linked to its tasks. */
export function chordMembers(frozen: WireSignature): WireSignature[] {
  switch (kindOf(frozen)) {
    case 'task': {
      const links = [...signaturesIn(frozen.options, 'link'), ...signaturesIn(frozen.options, 'link_error')];
      return links.flatMap((link) => chordMembers(freeze(link, () => '')));
    }
    case 'chord': {
      const header = tasksOf(headerOf(frozen));
      return [...header.flatMap(lastTasks), ...header.flatMap(chordMembers), ...chordMembers(bodyOf(frozen))];
    }
    default:
      return tasksOf(frozen).flatMap(chordMembers);
  }
}

function lastTasks(frozen: WireSignature): WireSignature[] {
  switch (kindOf(frozen)) {
    case 'task':
      return [frozen];
    case 'group':
      return tasksOf(frozen).flatMap(lastTasks);
    case 'chain':
      return tasksOf(frozen).slice(-1).flatMap(lastTasks);
    case 'chord':
      return lastTasks(bodyOf(frozen));
  }
}
