import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { chain, chord, group, Signature } from '../../src/index.ts';
import { GraphShop, graphLaws } from './graph-laws.ts';
import { Place } from './lovage.ts';

const sender = {
  sendSignature: () => Promise.reject(new Error()),
  sendCanvas: () => Promise.reject(new Error()),
  applyCanvas: () => Promise.reject(new Error()),
  tellsHeaders: false,
};
const s = (task: string, taskId?: string) =>
  new Signature<[], number>(sender, task, [], taskId === undefined ? {} : { taskId });

describe('lovage graph', () => {
  test('draws a signature in Mermaid', async () => {
    const place = new Place();
    const canvas = chain(
      s('a'),
      chord(group([s('b'), chain(s('c'), s('d'))]) as never, s('e') as never),
      s('f "x"') as never,
    );
    const { stdout, status } = await place.run(['graph', JSON.stringify(canvas.link(s('g')).toWire())]);
    expect(status).toBe(0);
    expect(stdout.split('\n').slice(0, -1)).toEqual([
      'flowchart LR',
      '  n0["a"]',
      '  n1["b"]',
      '  n2["c"]',
      '  n3["d"]',
      '  n4["e"]',
      '  n5["f &quot;x&quot;"]',
      '  n6["g"]',
      '  n2 --> n3',
      '  n1 --> n4',
      '  n3 --> n4',
      '  n0 --> n1',
      '  n0 --> n2',
      '  n4 --> n5',
      '  n5 --> n6',
    ]);
  });

  test('draws what has been sent by the id of a task, and from a file by its signature, with states', async () => {
    const place = new Place();
    await place.worker();
    const call = ['call', 'shop.add', '-a', '[2, 3]', '--wait', '--json', '--timeout', '15'];
    const { id } = JSON.parse((await place.run(call)).stdout) as { id: string };
    const drawn = (await place.run(['graph', id])).stdout;
    expect(drawn).toContain(`n0["…${id.slice(-12)}<br/>SUCCESS"]:::SUCCESS`);
    const file = join(place.folder, 'signature.json');
    const output = join(place.folder, 'graph.svg');
    writeFileSync(file, JSON.stringify(chain(s('shop.add', id), s('shop.add', 'nobody') as never).toWire()));
    expect((await place.run(['graph', `@${file}`, '--format', 'svg', '-o', output])).stdout).toBe(`${output}\n`);
    const svg = readFileSync(output, 'utf8');
    expect(svg).toMatch(/^<svg [\s\S]*>SUCCESS<[\s\S]*>PENDING<[\s\S]*<\/svg>\n$/);
    expect(svg.match(/<rect/g)).toHaveLength(2);
    expect(svg.match(/<path d="M162/g)).toHaveLength(1);
  });

  test('says what is wrong with its argument', async () => {
    const place = new Place();
    expect(await place.run(['graph', '{"task"'])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/signature in JSON/),
    });
    expect(await place.run(['graph', '@nowhere'])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/nowhere/),
    });
    expect((await place.run(['graph', '{"subtask_type":"x","task":"y"}'])).stderr).toMatch(/subtask_type/);
  });
});

graphLaws('sqlite', async () => new GraphShop());
