/** Random workflows, and what is to come of them. */
import { bodyOf, chainOf, chordOf, groupOf, headerOf, kindOf, tasksOf } from '../../src/canvas/wire-tree.ts';
import type { WireSignature } from '../../src/wire/task-message.ts';
import { type NodeSpec, sumOf } from './canvas-worker.ts';

/** Numbers that a seed fixes (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A workflow of up to `budget` tasks. */
export function grow(next: () => number, budget: number): WireSignature {
  const fails = next() < 0.5 ? 0.05 : 0;
  let left = budget;
  let n = 0;
  const task = (): WireSignature => {
    left -= 1;
    const at = next();
    const kind = at < fails ? 'fail' : at < 0.13 ? 'retry' : at < 0.15 ? 'die' : at < 0.2 ? 'replace' : 'plain';
    const spec: NodeSpec = { n: n++, kind };
    const task = spec.n % 2 === 0 ? 'g.work' : 'g.once';
    return { task, args: [spec], kwargs: {}, options: {}, subtask_type: null, immutable: false };
  };
  const several = (depth: number) => {
    const all = [node(depth + 1)];
    while (left > 0 && next() < 0.65) all.push(node(depth + 1));
    return all;
  };
  const node = (depth: number): WireSignature => {
    const at = next();
    if (left <= 1 || depth > 4 || at < 0.35) return task();
    if (at < 0.65) return chainOf([...several(depth), ...(left > 0 ? [task()] : [])]);
    if (at < 0.8) return groupOf(several(depth));
    return chordOf(several(depth), left > 0 && next() < 0.3 ? node(depth + 1) : task());
  };
  return chordOf(several(0), task());
}

/** What is to come of a workflow; `undefined` where something of it fails. */
export function model(signature: WireSignature, inputs: readonly unknown[]): unknown {
  switch (kindOf(signature)) {
    case 'task': {
      const { n, kind } = signature.args[0] as NodeSpec;
      return kind === 'fail' ? undefined : sumOf(n, inputs);
    }
    case 'chain':
      return tasksOf(signature).reduce<{ value: unknown; given: readonly unknown[] }>(
        ({ value, given }, step, i) => {
          if (i > 0 && value === undefined) return { value, given };
          const result = model(step, i === 0 ? given : [value]);
          return { value: result, given };
        },
        { value: undefined, given: inputs },
      ).value;
    case 'group': {
      const values = tasksOf(signature).map((member) => model(member, inputs));
      return values.includes(undefined) ? undefined : values;
    }
    case 'chord': {
      const values = tasksOf(headerOf(signature)).map((member) => model(member, inputs));
      return values.includes(undefined) ? undefined : model(bodyOf(signature), [values]);
    }
  }
}

/** The ids of all tasks, or of those of one name. */
export function taskIds(signature: WireSignature, name?: string): string[] {
  switch (kindOf(signature)) {
    case 'task':
      return name === undefined || signature.task === name ? [String(signature.options.task_id)] : [];
    case 'chord':
      return [headerOf(signature), bodyOf(signature)].flatMap((part) => taskIds(part, name));
    default:
      return tasksOf(signature).flatMap((part) => taskIds(part, name));
  }
}
