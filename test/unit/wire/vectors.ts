import { readdirSync, readFileSync } from 'node:fs';
import { decodeJson } from '../../../src/wire/json.ts';

const ROOT = new URL('../../vectors/', import.meta.url);

export type Json = Record<string, unknown>;

/** One golden vector: what real Celery wrote (see test/vectors/README.md). */
export interface Vector {
  readonly label: string;
  readonly name: string;
  readonly raw: unknown;
  readonly decoded: unknown;
  /** What else was in Redis, by its keys. */
  readonly otherKeys: Readonly<Record<string, { readonly type: string; readonly value: unknown }>>;
}

/** Vectors of both versions whose name starts with `prefix`. They hold bare NaN, so our own reader loads them. */
export function loadVectors(prefix: string): Vector[] {
  const vectors: Vector[] = [];
  for (const folder of ['', 'celery56/']) {
    for (const file of readdirSync(new URL(folder || '.', ROOT)).sort()) {
      if (!file.startsWith(prefix) || !file.endsWith('.json')) continue;
      const vector = decodeJson(readFileSync(new URL(folder + file, ROOT), 'utf8')) as Json;
      const name = file.slice(0, -'.json'.length);
      const otherKeys = (vector.other_keys ?? {}) as Vector['otherKeys'];
      vectors.push({ label: folder + name, name, raw: vector.raw, decoded: vector.decoded, otherKeys });
    }
  }
  return vectors;
}

/** A raw value is text, or `{"b64": ...}` where its bytes are no UTF-8. */
export function rawValue(raw: unknown): string | Uint8Array {
  return typeof raw === 'string' ? raw : Buffer.from((raw as { b64: string }).b64, 'base64');
}
