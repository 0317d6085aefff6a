/** Notes to everybody who listens now: events and remote control. Nothing is kept for those who come later. */
export interface Bus {
  /** Sends payloads to all present listeners of a topic, in order. */
  emitMany(topic: string, payloads: readonly Uint8Array[]): Promise<void>;
  /** Resolves once listening has begun; call what it returns to stop. A topic that ends in `*` listens to all with that beginning. */
  listen(topic: string, on: (payloads: Uint8Array[], topic: string) => void): Promise<() => Promise<void>>;
}
