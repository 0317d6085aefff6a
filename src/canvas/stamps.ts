import type { WireSignature } from '../wire/task-message.ts';
import {
  bodyOf,
  headerOf,
  isMap,
  kindOf,
  namesOfStamps,
  signaturesIn,
  tasksOf,
  type WireOptions,
} from './wire-tree.ts';

export type Stamps = Readonly<Record<string, unknown>>;

/** The stamps of a signature: Celery writes each under its own name, and the names in `stamped_headers`. */
export function stampsOf(wire: WireOptions): Stamps | undefined {
  const names = namesOfStamps(wire);
  if (names.length === 0) return undefined;
  const given = isMap(wire.stamps) ? wire.stamps : {};
  return Object.fromEntries(names.map((name) => [name, wire[name] ?? given[name]]));
}

/** Both; of one name the nearer one's. */
export function withStamps(near: Stamps | undefined, far: Stamps | undefined): Stamps | undefined {
  return near && far ? { ...far, ...near } : (near ?? far);
}

/**
 * A signature with its stamps on each task of it, and on what is linked to those, as Celery's `stamp()` writes them: a Python
 * worker reads those of each signature, and hands none on. Those of a whole take the place of its parts'; of those from `far`
 * away (the task that sends it) only what is not there.
 */
export function stamped(signature: WireSignature, far?: Stamps): WireSignature {
  return spread(signature, undefined, far && Object.keys(far).length > 0 ? far : undefined);
}

function spread(signature: WireSignature, over: Stamps | undefined, under: Stamps | undefined): WireSignature {
  const { options, kwargs } = signature;
  const own = stampsOf(options);
  if (!own && !over && !under) return signature;
  const isTask = kindOf(signature) === 'task';
  const nearer = isTask ? over : withStamps(over, own);
  const farther = isTask ? withStamps(own, under) : under;
  const inside = (one: WireSignature) => spread(one, nearer, farther);
  const linked = { ...options };
  for (const name of ['link', 'link_error', 'chain'] as const)
    if (options[name] != null) linked[name] = signaturesIn(options, name).map(inside);
  switch (kindOf(signature)) {
    case 'task': {
      const stamps = { ...farther, ...nearer };
      return { ...signature, options: { ...linked, ...stamps, stamped_headers: Object.keys(stamps) } };
    }
    case 'chord': {
      const parts = { header: inside(headerOf(signature)), body: inside(bodyOf(signature)) };
      return { ...signature, kwargs: { ...kwargs, ...parts }, options: withoutStamps(linked) };
    }
    default: {
      const tasks = tasksOf(signature).map(inside);
      return { ...signature, kwargs: { ...kwargs, tasks }, options: withoutStamps(linked) };
    }
  }
}

/** Those of a whole are on its parts. */
function withoutStamps(options: WireOptions): WireOptions {
  const stamps = new Set(['stamped_headers', ...namesOfStamps(options)]);
  return Object.fromEntries(Object.entries(options).filter(([name]) => !stamps.has(name)));
}
