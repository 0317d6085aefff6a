import type { CallOptions } from '../app/tasks/task-options.ts';
import { readSignature } from '../wire/task-fields.ts';
import type { WireSignature } from '../wire/task-message.ts';
import { Canvas, type SignatureSender } from './canvas.ts';
import { Signature } from './signature.ts';
import { foreignOptions, fromWireOptions, toWireOptions } from './wire-options.ts';
import { checkDepth, kindOf, merged, signaturesIn } from './wire-tree.ts';

/** A whole that came over the wire: it is kept, and sent, as it is. */
class WireCanvas extends Canvas {
  readonly #wire: WireSignature;

  constructor(sender: SignatureSender, wire: WireSignature, options: CallOptions = {}) {
    super(sender, options);
    this.#wire = wire;
  }

  protected override withOptions(options: CallOptions): this {
    return new WireCanvas(this.sender, this.#wire, options) as this;
  }

  override toWire(): WireSignature {
    const more = toWireOptions(this.options);
    return Object.keys(more).length > 0 ? { ...this.#wire, options: merged(this.#wire.options, more) } : this.#wire;
  }
}

/**
 * Reads a signature in Celery's own form, such as another program has stored. It is written again as it came.
 * @throws DecodeError for what is none, ConfigError for one that contains itself
 */
export function signatureFromWire(sender: SignatureSender, value: unknown): Canvas<[], unknown> {
  const wire = readSignature(value, 'signature');
  checkDepth(wire);
  if (kindOf(wire) !== 'task') return new WireCanvas(sender, wire) as unknown as Canvas<[], unknown>;
  const { task, args, kwargs, options, subtask_type: _type, immutable, ...extra } = wire;
  const { link, link_error } = options;
  const links = (name: 'link' | 'link_error') =>
    signaturesIn(options, name).map((one) => signatureFromWire(sender, one));
  const own: CallOptions = {
    ...fromWireOptions(options),
    ...(Object.keys(kwargs).length > 0 && { kwargs }),
    ...(link != null && { link: links('link') }),
    ...(link_error != null && { linkError: links('link_error') }),
  };
  const shape = { immutable, foreign: foreignOptions(options), extra };
  return new Signature<[], unknown>(sender, task, args, own, shape);
}
