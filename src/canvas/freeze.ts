import { derivedId } from '../util/ids.ts';
import type { ResultNode } from '../wire/result-tuple.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { bodyOf, headerOf, kindOf, tasksOf, textIn, upgraded, type WireOptions, withOptions } from './wire-tree.ts';

/** Where ids come from: fresh ones, or in a worker those that a repeated settlement finds again. */
export type IdSource = () => string;

/**
 * Fixes the id of every node of a signature, before any of it is sent, and brings it into the form in which it runs: chains
 * in chains are spliced, groups in groups unrolled, and a group with a step after it becomes a chord. Frozen twice, it stays
 * as it is. What a whole has of options goes to the part that it is about, as in Celery (wire SPEC 7.3 to 7.5).
 */
export function freeze(signature: WireSignature, ids: IdSource): WireSignature {
  switch (kindOf(signature)) {
    case 'task':
      return withId(signature, ids);
    case 'chain':
      return freezeChain(signature, ids);
    case 'group':
      return freezeGroup(signature, ids);
    case 'chord':
      return freezeChord(signature, ids);
  }
}

function withId(signature: WireSignature, ids: IdSource, id = textIn(signature.options, 'task_id')): WireSignature {
  return { ...signature, options: { ...signature.options, task_id: id ?? ids() } };
}

function freezeChain(signature: WireSignature, ids: IdSource): WireSignature {
  const {
    link: _link,
    link_error: _errors,
    chord: _chord,
    group_id: _id,
    group_index: _index,
    ...rest
  } = signature.options;
  const steps = upgraded(spliced(signature)).map((step) => freeze(step, ids));
  const last = steps.at(-1);
  return {
    ...signature,
    kwargs: { ...signature.kwargs, tasks: steps },
    options: last ? { ...rest, task_id: last.options.task_id } : rest,
  };
}

/**
 * The steps of a chain and of those in it. Who waits for a chain waits for its last step: that one has its id, its links,
 * and its place in a group; errbacks are for every step.
 */
function spliced({ options, ...chain }: WireSignature): WireSignature[] {
  const steps = tasksOf({ options, ...chain } as WireSignature).flatMap((step, i) => {
    const given = i === 0 ? prepended(step, chain.args as readonly unknown[]) : step;
    return kindOf(given) === 'chain' ? spliced(given) : [given];
  });
  const { task_id, group_id, group_index, chord, link, link_error } = options as WireOptions;
  return steps.map((step, i) => {
    const errors = withOptions(step, { link_error: link_error ?? undefined });
    return i < steps.length - 1 ? errors : withOptions(errors, { task_id, group_id, group_index, chord, link });
  });
}

function prepended(signature: WireSignature, args: readonly unknown[]): WireSignature {
  if (args.length === 0 || signature.immutable) return signature;
  return { ...signature, args: [...args, ...signature.args] };
}

/** The members of a group and of the groups in it. Celery turns the members of an inner group round (wire SPEC 7.4). */
export function unrolled(group: WireSignature): WireSignature[] {
  const members: WireSignature[] = [];
  const left = [...tasksOf(group)];
  for (let next = left.shift(); next !== undefined; next = left.shift()) {
    if (kindOf(next) === 'group') left.unshift(...tasksOf(next).toReversed());
    else members.push(next);
  }
  return members;
}

function freezeGroup(signature: WireSignature, ids: IdSource): WireSignature {
  const { options } = signature;
  const id = textIn(options, 'task_id') ?? (options.chord ? textIn(options, 'group_id') : undefined) ?? ids();
  // A group that ends a member of a chord: its own members are that chord's, also where Python sends them.
  const place = options.chord ? { chord: options.chord, group_id: options.group_id } : {};
  const tasks = unrolled(signature).map((member, i) =>
    freeze(withOptions(member, { ...place, group_index: member.options.group_index ?? i }), ids),
  );
  return { ...signature, kwargs: { ...signature.kwargs, tasks }, options: { ...options, task_id: id } };
}

/**
 * The id that a chord gives its body where nobody else has: whoever knows the group of the header finds the body by it, and no
 * store has to keep it.
 */
export function bodyIdOf(groupId: string): string {
  return derivedId(groupId, 'chord-body');
}

/** What a chord has of options is about its body, but for where and when its header runs. */
function freezeChord(signature: WireSignature, ids: IdSource): WireSignature {
  const { task_id: own, link, link_error, chord, group_id, group_index, chain, ...rest } = signature.options;
  const header = freezeGroup(headerOf(signature), ids);
  const groupId = header.options.task_id;
  const body = bodyOf(signature);
  const given = textIn(body.options, 'task_id') ?? (own === groupId ? undefined : own);
  // What ends a body may have its id already, as Python writes it: somebody waits for that one.
  const bodyId = given ?? (givenToEnd(body, 'task_id') === undefined ? bodyIdOf(idOf(header)) : undefined);
  const frozen = freeze(
    withOptions(body, {
      task_id: kindOf(body) === 'group' ? body.options.task_id : bodyId,
      link,
      link_error,
      chord,
      group_id: group_id ?? givenToEnd(body, 'group_id') ?? groupId,
      group_index,
      chain: chain ?? undefined,
      root_id: rest.root_id,
      parent_id: rest.parent_id,
      replaced_task_nesting: rest.replaced_task_nesting,
    }),
    ids,
  );
  return {
    ...signature,
    kwargs: { ...signature.kwargs, header, body: frozen },
    // Where a step before it fails, Python stores that under this id: it is the one that is waited for.
    options: { ...rest, task_id: resultId(frozen) },
  };
}

/**
 * What a signature has been given, or else the part with which it ends: its id, or the group to which it belongs. What a whole
 * was given has gone to that part.
 */
function givenToEnd(signature: WireSignature, option: 'task_id' | 'group_id'): string | undefined {
  const own = textIn(signature.options, option);
  if (own !== undefined) return own;
  switch (kindOf(signature)) {
    case 'chain': {
      const last = tasksOf(signature).at(-1);
      return last && givenToEnd(last, option);
    }
    case 'chord':
      return givenToEnd(bodyOf(signature), option);
    default:
      return undefined;
  }
}

/** The id under which the result of a frozen signature is found; of a group, the group's. */
export function idOf(frozen: WireSignature): string {
  return resultId(frozen) ?? '';
}

function resultId(frozen: WireSignature): string | undefined {
  return kindOf(frozen) === 'chord' ? resultId(bodyOf(frozen)) : textIn(frozen.options, 'task_id');
}

/** What a frozen signature gives as a result, with all that comes before it. */
export function nodeOf(frozen: WireSignature, parent?: ResultNode): ResultNode | undefined {
  const above = parent && { parent };
  switch (kindOf(frozen)) {
    case 'task':
      return { id: idOf(frozen), ...above };
    case 'chain':
      return tasksOf(frozen).reduce<ResultNode | undefined>((before, step) => nodeOf(step, before), parent);
    case 'group':
      return { ...groupNode(frozen), ...above };
    case 'chord':
      return nodeOf(bodyOf(frozen), { ...groupNode(headerOf(frozen)), ...above });
  }
}

export function groupNode(frozen: WireSignature): ResultNode {
  return { id: idOf(frozen), members: tasksOf(frozen).flatMap((member) => nodeOf(member) ?? []) };
}
