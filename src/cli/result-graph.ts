import type { LovageApp } from '../app/app.ts';
import { bodyKey } from '../app/results/later.ts';
import type { Results } from '../app/results/results.ts';
import { bodyIdOf } from '../canvas/freeze.ts';
import { type Graph, type GraphNode, graphOf } from '../canvas/graph.ts';
import { fromTuple, type ResultNode } from '../wire/result-tuple.ts';
import { readSignature } from '../wire/task-fields.ts';
import type { ResultMeta } from '../wire/task-message.ts';

/** The body of a chord, as far as it is known. */
interface Body {
  readonly taskIds: readonly string[];
  /** Those that begin when the header has ended. */
  readonly entries: readonly string[];
}

/** What is stored about tasks, by id. */
export async function statesOf(results: Results, ids: readonly string[]): Promise<Map<string, ResultMeta>> {
  const records = await results.required().fetchMany(ids);
  return new Map(records.flatMap((record) => (record ? [[record.taskId, results.decode(record)] as const] : [])));
}

/**
 * The picture of a workflow by the id of a task, of a group or of the header of a chord: upwards from there to its first task,
 * then down along all that was sent, and from the members of chords to their bodies.
 */
export async function graphOfResults(app: LovageApp, id: string): Promise<Graph> {
  return new ResultGraph(await app.results()).draw(id);
}

class ResultGraph {
  readonly #results: Results;
  readonly #metas = new Map<string, ResultMeta | undefined>();
  /** Names that signatures told. */
  readonly #names = new Map<string, string>();
  readonly #edges = new Map<string, readonly [from: string, to: string]>();
  /** Who belongs to a group, perhaps the header of a chord. */
  readonly #groups = new Map<string, Set<string>>();
  /** The body that waits for a group; `undefined` for a group that is no header. */
  readonly #bodies = new Map<string, Body | undefined>();

  constructor(results: Results) {
    this.#results = results;
  }

  async draw(id: string): Promise<Graph> {
    let left = await this.#begin(id);
    while (left.length > 0) {
      const known = await statesOf(this.#results, left);
      for (const taskId of left) this.#metas.set(taskId, known.get(taskId));
      const next = left.flatMap((taskId) => this.#around(taskId));
      next.push(...(await this.#bodiesOfNewGroups()));
      left = [...new Set(next)].filter((one) => !this.#metas.has(one));
    }
    this.#linkBodies();
    return this.#graph();
  }

  /** Where to begin: at the task of this id, or at those of the group. */
  async #begin(id: string): Promise<readonly string[]> {
    const saved = await this.#results.fetchGroup(id);
    if (saved) return this.#tasksIn(saved);
    const arrived = await this.#arrivedAt(id);
    this.#groups.set(id, new Set(arrived));
    const body = await this.#bodiesOfNewGroups();
    if (arrived || body.length > 0) return [...(arrived ?? []), ...body];
    this.#groups.delete(id);
    return [id];
  }

  /** The members that an open join has counted; `undefined` where there is none. */
  async #arrivedAt(groupId: string): Promise<readonly string[] | undefined> {
    const parts = await this.#results.required().joins?.read(groupId);
    return parts?.map(({ key }) => key);
  }

  /** What a task came from, and what it has sent. */
  #around(taskId: string): readonly string[] {
    const { parentId, groupId, children = [] } = this.#metas.get(taskId) ?? {};
    if (groupId !== undefined) this.#join(groupId, taskId);
    // A task that has replaced another, or is retried, has itself for its parent.
    const parent = parentId === undefined || parentId === taskId ? [] : [parentId];
    for (const from of parent) this.#link(from, taskId);
    const sent = children.flatMap((tuple) => fromTuple(tuple) ?? []).flatMap((node) => this.#tasksIn(node));
    for (const child of sent) if (child !== taskId) this.#link(taskId, child);
    return [...parent, ...sent];
  }

  /** All tasks of a tree of results, parents included. */
  #tasksIn({ id, parent, members }: ResultNode): readonly string[] {
    const above = parent ? this.#tasksIn(parent) : [];
    if (!members) return [...above, id];
    for (const member of members) if (!member.members) this.#join(id, member.id);
    return [...above, ...members.flatMap((member) => this.#tasksIn(member))];
  }

  #join(groupId: string, taskId: string): void {
    this.#groups.set(groupId, (this.#groups.get(groupId) ?? new Set()).add(taskId));
  }

  #link(from: string, to: string): void {
    this.#edges.set(`${from} ${to}`, [from, to]);
  }

  /** Looks for the bodies of groups that were not there before. Gives their tasks. */
  async #bodiesOfNewGroups(): Promise<readonly string[]> {
    const fresh = [...this.#groups.keys()].filter((groupId) => !this.#bodies.has(groupId));
    const found = await Promise.all(fresh.map((groupId) => this.#bodyOf(groupId)));
    fresh.forEach((groupId, i) => {
      this.#bodies.set(groupId, found[i]);
    });
    return found.flatMap((body) => body?.taskIds ?? []);
  }

  async #bodyOf(groupId: string): Promise<Body | undefined> {
    const kept = await this.#results.fetchSignature(bodyKey(groupId));
    if (kept !== undefined) return this.#drawnBody(graphOf(readSignature(kept, bodyKey(groupId))));
    if (!isOurs(groupId)) return undefined;
    const id = bodyIdOf(groupId);
    const isThere = (await this.#results.fetch(id)) !== undefined || (await this.#arrivedAt(groupId)) !== undefined;
    return isThere ? { taskIds: [id], entries: [id] } : undefined;
  }

  #drawnBody({ nodes, edges }: Graph): Body {
    const idAt = (place: number) => nodes[place]?.taskId ?? '';
    for (const { label, taskId } of nodes) if (taskId !== undefined) this.#names.set(taskId, label);
    for (const [from, to] of edges) this.#link(idAt(from), idAt(to));
    const entries = [...nodes.keys()].filter((place) => !edges.some(([, to]) => to === place)).map(idAt);
    return { taskIds: nodes.map((_, place) => idAt(place)), entries };
  }

  /** From each member of a header to where its body begins. */
  #linkBodies(): void {
    for (const [groupId, body] of this.#bodies) {
      const own = new Set(body?.taskIds);
      const members = [...(this.#groups.get(groupId) ?? [])].filter((id) => !own.has(id));
      const sameParents = this.#parentsOf(members);
      for (const to of body?.entries ?? []) {
        const first = this.#firstStep(to, new Set([...members, ...sameParents]));
        for (const from of members) this.#link(from, first);
        // What has sent the header is stored as the parent of the body; the members stand between the two.
        for (const parent of members.length > 0 ? sameParents : []) this.#edges.delete(`${parent} ${first}`);
      }
    }
  }

  #parentsOf(members: readonly string[]): string[] {
    return members.flatMap((id) => this.#metas.get(id)?.parentId ?? []).filter((parent) => !members.includes(parent));
  }

  /** The first step of a body of which the last is known: the one that follows a member, or what has sent the header. */
  #firstStep(last: string, before: ReadonlySet<string>): string {
    const seen = new Set<string>();
    for (let step = last; !seen.has(step); ) {
      seen.add(step);
      const parent = this.#metas.get(step)?.parentId;
      if (parent === undefined) return last;
      if (before.has(parent)) return step;
      step = parent;
    }
    return last;
  }

  #graph(): Graph {
    const places = new Map([...this.#metas.keys()].map((taskId, i) => [taskId, i]));
    const nodes = [...this.#metas].map(
      ([taskId, meta]): GraphNode => ({
        label: meta?.name ?? this.#names.get(taskId) ?? shortId(taskId),
        taskId,
        state: meta?.state ?? 'PENDING',
      }),
    );
    const edges = [...this.#edges.values()].map(([from, to]) => [places.get(from) ?? 0, places.get(to) ?? 0] as const);
    return { nodes, edges };
  }
}

/** The versions of UUIDs that are made here: of a group that Python has made nobody could tell the id of a body. */
function isOurs(groupId: string): boolean {
  return /^.{14}[57]/.test(groupId);
}

function shortId(id: string): string {
  return id.length > 13 ? `…${id.slice(-12)}` : id;
}
