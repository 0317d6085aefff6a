/** A message as it travels: bytes with a label. The same four parts on every broker (wire SPEC section 1). */
export interface WireMessage {
  /** The serialized (and perhaps compressed) payload; never base64 here. */
  readonly body: Uint8Array;
  /** MIME type of the payload before compression, such as `application/json`. */
  readonly contentType: string;
  /** `utf-8` for text, `binary` for bytes. */
  readonly contentEncoding: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly properties: WireProperties;
}

/** The delivery properties Celery uses; others are kept as they came. */
export interface WireProperties {
  /** The task id. */
  readonly correlation_id?: string;
  readonly reply_to?: string;
  /** 2 = persistent (the default), 1 = transient. */
  readonly delivery_mode?: number;
  /** 0 (most urgent, the default) to 9. */
  readonly priority?: number;
  /** Milliseconds as text, as AMQP wants it. */
  readonly expiration?: string;
  readonly [name: string]: unknown;
}
