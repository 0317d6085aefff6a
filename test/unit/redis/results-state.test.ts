import { beforeAll, describe, expect, test } from 'vitest';
import { asDocument, stateOf } from '../../../src/stores/result-documents.ts';
import { encodeResult } from '../../../src/wire/result.ts';
import { loadSerializers } from '../../../src/wire/serializers.ts';
import { celeryDocuments } from './results-documents.ts';

beforeAll(() => loadSerializers(['yaml', 'msgpack']));

describe('the state of a stored document', () => {
  test('there are as many as were captured', () => {
    expect(celeryDocuments().length).toBeGreaterThan(45);
  });

  test.each(celeryDocuments())('is $state in $label', ({ document, state }) => {
    expect(stateOf(document)).toBe(state);
    const back = asDocument(Buffer.from(document as string));
    expect(typeof back).toBe(typeof document);
    expect(stateOf(back)).toBe(state);
  });

  test.each(['json', 'yaml', 'msgpack'])('is found in what Lovage writes as %s', (serializer) => {
    for (const state of ['SUCCESS', 'RETRY', 'Größe "1"\n\\', "it's", 'x'.repeat(40), '']) {
      const result = { status: 'FAILURE', text: '\nstatus: REVOKED\n' };
      const document = encodeResult({ taskId: 'i', state, result, children: [] }, { serializer });
      expect(stateOf(document)).toBe(state);
    }
  });

  test('is found wherever another writer of JSON has put it', () => {
    expect(stateOf('{"task_id": "i", "result": {"status": "FAILURE"}, "status": "SUCCESS"}')).toBe('SUCCESS');
    expect(stateOf('{"task_id": "i", "result": NaN, "status": "STARTED"}')).toBe('STARTED');
  });

  test.each([
    '',
    'garbage',
    '{',
    '{"status": 1}',
    '[]',
    'null',
    '{"result": [["g", null], []]}',
    'a:\n  status: SUCCESS',
  ])('is not in %j', (text) => {
    expect(stateOf(text)).toBeUndefined();
  });

  test('is not in bytes that are no document', () => {
    for (const bytes of [[0x80], [0xff, 0xfe], [0x81, 0xa6]]) expect(stateOf(Uint8Array.from(bytes))).toBeUndefined();
  });
});
