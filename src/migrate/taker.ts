import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Broker, Consumer } from '../contracts/broker.ts';
import type { ItemFailure } from '../contracts/common.ts';
import type { Delivery } from '../contracts/message.ts';
import { LeaseLostError } from '../errors.ts';
import { parseIsoTime } from '../wire/iso-time.ts';
import type { WireMessage } from '../wire/message.ts';
import type { Held, HeldEntry, Journal } from './journal.ts';

const MAX_ITEMS = 500;

/** A lease is taken to end by so much before its time. */
const LEASE_MARGIN_MS = 1000;

/** Clocks of this machine and of a store may differ by so much. */
const CLOCK_MARGIN_MS = 60_000;

/** A queue that says it has messages but gives none is asked again so often. */
const ASKED_AGAIN = 10;
const WAIT_MS = 1000;

/** What a taker is made with. */
export interface TakerOptions {
  readonly from: Broker;
  readonly journal: Journal;
  /** Larger bodies are left where they are. */
  readonly maxBytes: number;
  /** How long a message that was received may take to be written down and taken. */
  readonly leaseMs: number;
  /** An earlier run was broken off: what it had in the hand comes back within a lease. */
  readonly isResumed: boolean;
  readonly signal: AbortSignal;
}

/** The way out of the source: what is there is written down, and then taken. */
export class Taker {
  readonly #from: Broker;
  readonly #journal: Journal;
  readonly #maxBytes: number;
  readonly #leaseMs: number;
  readonly #backUntil: number;
  readonly #signal: AbortSignal;
  /** Those that are too large for the destination, by tag. */
  readonly #tooLarge = new Set<string>();

  constructor({ from, journal, maxBytes, leaseMs, isResumed, signal }: TakerOptions) {
    this.#from = from;
    this.#journal = journal;
    this.#maxBytes = maxBytes;
    this.#leaseMs = leaseMs;
    this.#backUntil = isResumed ? Date.now() + leaseMs + WAIT_MS : 0;
    this.#signal = signal;
  }

  /** How many messages are too large for the destination. */
  get tooLarge(): number {
    return this.#tooLarge.size;
  }

  /** Takes all of a queue, batch by batch; after each it lets `send` have it. */
  async drain(queue: string, send: () => Promise<void>): Promise<void> {
    const consumer = await this.#from.consume([queue], this.#hasLeases ? { leaseMs: this.#leaseMs } : {});
    try {
      for (let idle = 0; !this.#signal.aborted; ) {
        const took = (await this.#takeReady(consumer, idle > 0)) || (await this.#takeParked(queue));
        if (took) await send();
        if (!took && (await this.#isEmpty(queue, ++idle))) return;
        if (took) idle = 0;
        // Between two files nothing else would let a signal through.
        await nextTurn();
      }
    } finally {
      // Whoever closes gives back what it holds: what may be back at the source is not ours.
      this.#journal.unsure(
        this.#journal
          .held()
          .filter(({ parked }) => !parked)
          .map(({ seq }) => seq),
      );
      await consumer.close();
    }
  }

  /** Finds out about messages that an earlier run was taking when it ended. */
  async finish(): Promise<void> {
    const held = this.#journal.held();
    if (held.length === 0) return;
    const now = Date.now();
    const sure = new Set(held.filter(({ heldUntil }) => now < heldUntil));
    const parked = held.filter((entry) => entry.parked);
    const ready = held.filter((entry) => !entry.parked && sure.has(entry));
    if (ready.length > 0) await this.#askForLeases(ready);
    if (parked.length > 0) await this.#takeAgain(parked, sure);
    // Whose time is over may be at the source again; it will be met there, or not.
    this.#journal.unsure(held.filter((entry) => !entry.parked && !sure.has(entry)).map(({ seq }) => seq));
  }

  /** Nobody else can have had them: what is not leased any more was let go by us. The others come again, soon. */
  async #askForLeases(entries: readonly HeldEntry[]): Promise<void> {
    const failures = await this.#from.extendMany(entries, WAIT_MS);
    throwOthers(failures);
    const gone = new Set(failures.map(({ index }) => index));
    this.#journal.taken(entries.filter((_, index) => gone.has(index)).map(({ seq }) => seq));
    this.#journal.unsure(entries.filter((_, index) => !gone.has(index)).map(({ seq }) => seq));
  }

  async #takeAgain(entries: readonly HeldEntry[], sure: ReadonlySet<HeldEntry>): Promise<void> {
    const failures = (await this.#from.parked?.takeMany(entries)) ?? [];
    throwOthers(failures);
    const lost = new Set(failures.map(({ index }) => index));
    const isOurs = (entry: HeldEntry, index: number) => !lost.has(index) || sure.has(entry);
    this.#journal.taken(entries.filter(isOurs).map(({ seq }) => seq));
    this.#journal.unsure(entries.filter((entry, index) => !isOurs(entry, index)).map(({ seq }) => seq));
  }

  async #takeReady(consumer: Consumer, wait: boolean): Promise<boolean> {
    const since = Date.now();
    const received = await consumer.receive(MAX_ITEMS, wait ? WAIT_MS : 1, this.#signal);
    const heldUntil = this.#hasLeases ? since + this.#leaseMs - LEASE_MARGIN_MS : 0;
    const fitting = received.filter((delivery) => this.#fits(delivery));
    const held = fitting.map(({ queue, message, tag }) => {
      return { queue, message, tag, parked: false, dueAt: etaOf(message), heldUntil };
    });
    await this.#take(held, () => consumer.ackMany(fitting));
    return received.length > 0;
  }

  async #takeParked(queue: string): Promise<boolean> {
    const { parked } = this.#from;
    if (!parked) return false;
    const listed = await parked.list(queue, MAX_ITEMS + this.tooLarge);
    const seen = listed.filter((one) => this.#fits(one));
    if (seen.length === 0) return false;
    const held = seen.map(({ message, tag, dueAt }) => {
      return { queue, message, tag, parked: true, dueAt, heldUntil: dueAt - CLOCK_MARGIN_MS };
    });
    await this.#take(held, () => parked.takeMany(seen));
    return true;
  }

  /** Writes down, has the source forget, and notes what it said. */
  async #take(held: readonly Held[], forget: () => Promise<ItemFailure[]>): Promise<void> {
    if (held.length === 0) return;
    const seqs = this.#journal.hold(held);
    const failures = await forget();
    const failed = new Set(failures.map(({ index }) => index));
    this.#journal.taken(seqs.filter((_, index) => !failed.has(index)));
    // Of another failure nobody knows what came of it; those stay held.
    this.#journal.gone(seqs.filter((_, index) => failures.some((one) => one.index === index && isLost(one))));
    throwOthers(failures);
  }

  /** What does not fit stays leased until the end, so that it does not come again and again. */
  #fits({ message, tag }: Pick<Delivery, 'message' | 'tag'>): boolean {
    if (message.body.byteLength <= this.#maxBytes) return true;
    this.#tooLarge.add(JSON.stringify(tag));
    return false;
  }

  async #isEmpty(queue: string, asked: number): Promise<boolean> {
    const [depth] = await this.#from.countMany([queue]);
    if (!depth) return true;
    if (depth.inFlight > 0 && Date.now() < this.#backUntil) return false;
    return depth.ready === 0 || asked >= ASKED_AGAIN;
  }

  get #hasLeases(): boolean {
    return this.#from.features.leaseMs !== undefined;
  }
}

/** When a message is due that its sender did not want to run at once: so Celery's own producers say it. */
function etaOf({ headers: { eta } }: WireMessage): number | undefined {
  if (eta instanceof Date) return eta.getTime();
  return typeof eta === 'string' ? parseIsoTime(eta) : undefined;
}

function isLost({ error }: ItemFailure): boolean {
  return error instanceof LeaseLostError;
}

function throwOthers(failures: readonly ItemFailure[]): void {
  const other = failures.find((failure) => !isLost(failure));
  if (other) throw other.error;
}
