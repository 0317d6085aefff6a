import type { DatabaseSync, StatementSync } from 'node:sqlite';

/** `state` of a message: written down; whether the source has let it go is not known. */
export const HELD = 0;
/** Ours alone: the source has forgotten it. */
export const TAKEN = 1;
/** Being sent; whether the destination has it is not known. */
export const SENDING = 2;
/** At the destination. */
export const SENT = 3;

type Name =
  | 'hold'
  | 'holdAgain'
  | 'held'
  | 'setState'
  | 'remove'
  | 'unsure'
  | 'unsureOf'
  | 'unsureLike'
  | 'nextTaken'
  | 'begin'
  | 'sending'
  | 'sent'
  | 'notSent'
  | 'troubled'
  | 'forgive'
  | 'sentLike'
  | 'queues'
  | 'counts';

/** The statements of a journal. */
export function prepareAll(db: DatabaseSync): Record<Name, StatementSync> {
  const unsure = `state = ${HELD} AND tag IS NULL`;
  return {
    hold: db.prepare(
      `INSERT INTO messages (queue, state, fingerprint, envelope, due_at, parked, tag, held_until)
         VALUES (?, ${HELD}, ?, ?, ?, ?, ?, ?)`,
    ),
    holdAgain: db.prepare('UPDATE messages SET tag = ?, parked = ?, due_at = ?, held_until = ? WHERE seq = ?'),
    held: db.prepare(`SELECT * FROM messages WHERE state = ${HELD} AND tag IS NOT NULL ORDER BY seq`),
    setState: db.prepare('UPDATE messages SET state = ?, tag = NULL WHERE seq = ?'),
    remove: db.prepare('DELETE FROM messages WHERE seq = ?'),
    unsure: db.prepare('UPDATE messages SET tag = NULL WHERE seq = ?'),
    unsureOf: db.prepare(`SELECT seq FROM messages WHERE ${unsure} AND queue = ? ORDER BY seq`),
    unsureLike: db.prepare(`SELECT seq FROM messages WHERE fingerprint = ? AND queue = ? AND ${unsure} LIMIT 1`),
    nextTaken: db.prepare(
      `SELECT * FROM messages WHERE state = ${TAKEN} AND queue = ? AND trouble IS NULL ORDER BY seq LIMIT ?`,
    ),
    begin: db.prepare(`UPDATE messages SET state = ${SENDING}, batch = ?, sent_at = ? WHERE seq = ?`),
    sending: db.prepare(`SELECT * FROM messages WHERE state = ${SENDING} ORDER BY seq`),
    sent: db.prepare(`UPDATE messages SET state = ${SENT}, envelope = NULL WHERE seq = ?`),
    notSent: db.prepare(`UPDATE messages SET state = ${TAKEN}, batch = NULL, trouble = ? WHERE seq = ?`),
    troubled: db.prepare('SELECT queue, envelope, trouble FROM messages WHERE trouble IS NOT NULL ORDER BY seq'),
    forgive: db.prepare('UPDATE messages SET trouble = NULL WHERE trouble IS NOT NULL'),
    sentLike: db.prepare(`SELECT count(*) AS n FROM messages WHERE fingerprint = ? AND state = ${SENT}`),
    queues: db.prepare(`SELECT DISTINCT queue FROM messages WHERE state < ${SENT} ORDER BY queue`),
    counts: db.prepare('SELECT state, count(*) AS n FROM messages GROUP BY state'),
  };
}
