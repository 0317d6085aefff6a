import { describe, expect, test } from 'vitest';
import { DecodeError, SerializationError } from '../../../src/errors.ts';
import { decodeResult, encodeResult } from '../../../src/wire/result.ts';
import { loadSerializers } from '../../../src/wire/serializers.ts';
import type { ResultMeta } from '../../../src/wire/task-message.ts';

const MINIMAL: ResultMeta = { taskId: 'i', state: 'STARTED', result: { pid: 1 }, children: [] };
const FULL: ResultMeta = {
  taskId: 'i',
  state: 'SUCCESS',
  result: [1, 'x'],
  traceback: 'tb',
  children: [[['c', null], null]],
  dateDone: Date.UTC(2031, 0, 2, 3, 4, 5, 678),
  groupId: 'g',
  parentId: 'p',
  name: 'n',
  args: [1],
  kwargs: { k: 1 },
  worker: 'w@h',
  retries: 0,
  queue: 'q',
};

describe('results', () => {
  test("are written in Celery's order, with an aware date_done", () => {
    expect(encodeResult(FULL, { serializer: 'json' })).toBe(
      '{"status":"SUCCESS","result":[1,"x"],"traceback":"tb","children":[[["c",null],null]],' +
        '"date_done":"2031-01-02T03:04:05.678000+00:00","group_id":"g","parent_id":"p","name":"n","args":[1],' +
        '"kwargs":{"k":1},"worker":"w@h","retries":0,"queue":"q","task_id":"i"}',
    );
    expect(encodeResult({ ...MINIMAL, result: undefined }, { serializer: 'json' })).toBe(
      '{"status":"STARTED","result":null,"traceback":null,"children":[],"date_done":null,"task_id":"i"}',
    );
  });

  test.each(['json', 'yaml', 'msgpack'])('come back the same in %s', async (serializer) => {
    await loadSerializers([serializer]);
    for (const meta of [MINIMAL, FULL]) {
      const document = encodeResult(meta, { serializer });
      expect(typeof document).toBe(serializer === 'msgpack' ? 'object' : 'string');
      expect(decodeResult(document, { serializer })).toEqual(meta);
    }
  });

  test('a date_done without an offset is UTC', () => {
    const document = '{"status": "SUCCESS", "result": 1, "date_done": "2031-01-02T03:04:05.678901", "task_id": "i"}';
    expect(decodeResult(Buffer.from(document), { serializer: 'json' }).dateDone).toBe(FULL.dateDone);
  });

  test('a return value that cannot be written is named by its place', () => {
    const encode = (): unknown => encodeResult({ ...MINIMAL, result: { a: new Map() } }, { serializer: 'json' });
    expect(encode).toThrow(SerializationError);
    expect(encode).toThrow('Cannot serialize result.a: it is a Map');
    expect(() => encodeResult({ ...MINIMAL, dateDone: Number.NaN }, { serializer: 'json' })).toThrow(/date_done/);
  });

  test.each([
    ['a list', '[]', /expected the document to be a map, got \[\]/],
    ['no status', '{"task_id": "i"}', /expected status to be a text, got None/],
    ['no task_id', '{"status": "SUCCESS"}', /expected task_id to be a text/],
    ['bad children', '{"status": "SUCCESS", "task_id": "i", "children": 1}', /children to be a list/],
    ['a bad date_done', '{"status": "SUCCESS", "task_id": "i", "date_done": "x"}', /date_done to be an ISO time/],
    ['no JSON', '\x80\x04', /Malformed JSON/],
  ])('%s is refused', (_name, document, message) => {
    expect(() => decodeResult(document, { serializer: 'json' })).toThrow(DecodeError);
    expect(() => decodeResult(document, { serializer: 'json' })).toThrow(message);
  });
});
