/** What goes wrong on purpose. */

/** An answer in place of the real one. */
export type FaultAnswer =
  /** An error of the service, such as `{ error: 'ThrottlingException', message: 'Rate exceeded' }`. */
  | { readonly error: string; readonly message: string; readonly status?: number }
  /** HTTP 200 with this body; RunTask's `failures` come so. */
  | { readonly body: object }
  /** The connection breaks before anything is done. */
  | { readonly drop: 'before' }
  /** It is done, and the connection breaks before the answer: the caller cannot know. */
  | { readonly drop: 'after' };

export interface Fault {
  /** Such as `RunTask`. */
  readonly action: string;
  /** How often; without it always. */
  readonly times?: number;
  /** For which requests; without it for all. */
  readonly when?: (input: Readonly<Record<string, unknown>>) => boolean;
  readonly answer: FaultAnswer;
}

/** The faults that a test has ordered. */
export class Faults {
  #orders: { fault: Fault; left: number }[] = [];

  /** Returns what takes the order back. */
  add(fault: Fault): () => void {
    const order = { fault, left: fault.times ?? Number.POSITIVE_INFINITY };
    this.#orders.push(order);
    return () => {
      this.#orders = this.#orders.filter((one) => one !== order);
    };
  }

  /** The first order that fits is carried out. */
  next(action: string, input: Readonly<Record<string, unknown>>): FaultAnswer | undefined {
    const order = this.#orders.find(
      ({ fault, left }) => left > 0 && fault.action === action && (fault.when?.(input) ?? true),
    );
    if (!order) return undefined;
    order.left -= 1;
    return order.fault.answer;
  }
}

/** An error that a service answers with. */
export class AwsRefusal extends Error {
  readonly status: number;
  /** More members of the answer, such as the `resourceIds` of a ConflictException. */
  readonly more: object;

  constructor(
    name: string,
    message: string,
    { status = 400, ...more }: { status?: number; [member: string]: unknown } = {},
  ) {
    super(message);
    this.name = name;
    this.status = status;
    this.more = more;
  }
}
