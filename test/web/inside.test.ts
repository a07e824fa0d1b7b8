/** The picture of a block, against the model's own sites, and the words for what recipes do there. */
import { describe, expect, it } from 'vitest';
import { architectures, roles, sites } from '../../src/model/index.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { interpret } from '../../src/run.ts';
import { blockGraph } from '../../web/src/inside/block-graph.ts';
import { LAYOUTS, WIDTH } from '../../web/src/inside/block-places.ts';
import { actionAt, inWords, MARKS, marksOf, sitesOf, weightsAt } from '../../web/src/inside/words.ts';
import { statesView } from '../../web/src/lab/views.ts';
import { MODELS } from '../../web/src/model.ts';
import { toy, toy2 } from '../toy.ts';

it('has a picture and words for the family of every model that the site has', () => {
  const families = Object.values(MODELS).map(({ modelType }) => modelType);
  expect(Object.keys(LAYOUTS).sort()).toEqual([...new Set(families)].sort());
});

describe.each(Object.keys(LAYOUTS))('the picture of a block of %s', modelType => {
  const { places, states, height } = LAYOUTS[modelType];
  const { arrows, roles: drawn } = blockGraph(modelType);
  const family = architectures.find(architecture => architecture.modelType === modelType)!;
  const read = (name: string) => arrows.filter(({ to }) => to === name).map(({ from }) => from);

  it('has a place and words for every site, and no other part without words', () => {
    const wordless = Object.keys(places).filter(name => places[name].label.length === 0);
    const heights = wordless.map(name => places[name].y); // the order of the tab key
    expect(heights).toEqual(heights.toSorted((a, b) => a - b));
    expect(wordless.sort()).toEqual([...family.sites, 'headIn'].sort());
    expect(Object.keys(sitesOf(modelType)).sort()).toEqual(wordless);
    expect(states).toHaveLength(family.states.length);
    for (const { of } of states) expect(places).toHaveProperty(of);
  });

  it('joins every site of a block to what it reads and what reads it', () => {
    for (const site of family.sites) {
      expect(read(site), site).toHaveLength(1);
      expect(
        arrows.some(({ from }) => from === site),
        site,
      ).toBe(true);
    }
  });

  it('has every weight that a recipe may quantize', () => {
    expect([...drawn.values()].sort()).toEqual([...family.roles].sort());
    for (const role of drawn.values()) expect(roles).toContain(role);
    expect(read('h').sort()).toEqual(['input', 'out']);
  });

  it('runs from top to bottom, inside the picture', () => {
    for (const { from, to } of arrows) expect(places[from].y, `${from} → ${to}`).toBeLessThan(places[to].y);
    for (const [name, { x, y, width, height: tall }] of Object.entries(places)) {
      expect(x - width / 2, name).toBeGreaterThanOrEqual(0);
      expect(x + width / 2, name).toBeLessThanOrEqual(WIDTH);
      expect(y + tall / 2, name).toBeLessThanOrEqual(height);
    }
  });

  it('lays no part over another', () => {
    const pills = states.map(({ of, x, y }) => [`state of ${of}`, { x, y, width: 84, height: 24 }] as const);
    const parts = [...Object.entries(places), ...pills];
    for (const [i, [name, a]] of parts.entries())
      for (const [other, b] of parts.slice(i + 1)) {
        const apart = Math.max(
          Math.abs(a.x - b.x) - (a.width + b.width) / 2,
          Math.abs(a.y - b.y) - (a.height + b.height) / 2,
        );
        expect(apart, `${name} and ${other}`).toBeGreaterThanOrEqual(0);
      }
  });
});

it.each([
  [
    'mamba',
    { y: ['B', 'C', 'dtPositive', 'gate', 'scanIn'], dtBC: ['scanIn'], convIn: ['xz'], gate: ['xz'] },
  ],
  [
    'mamba2',
    { y: ['B', 'C', 'dt', 'scanIn'], gated: ['gate', 'y'], scanOut: ['gated'], B: ['conv'], dt: ['zxBCdt'] },
  ],
])('the picture of %s shows what the model computes', (modelType, reads) => {
  const { arrows } = blockGraph(modelType);
  for (const [name, from] of Object.entries(reads))
    expect(
      arrows
        .filter(({ to }) => to === name)
        .map(({ from }) => from)
        .sort(),
      name,
    ).toEqual(from);
});

it.each([toy, toy2()])('a state is shown by channel, also where $name has it by heads', ({ program }) => {
  const executable = interpret(program);
  const tokens = Int32Array.of(3, 1, 4);
  const view = statesView({ program, executable, tokens }, 1);
  const sequence = executable.open();
  sequence.feed(tokens);
  const { values } = sequence.save();
  const { shape, data } = values.get('layers.1.ssmState')!;
  const [h, n, p = 1] = shape;
  expect([view.channels, view.size, view.convChannels * view.width]).toEqual([
    ...[h * p, n, values.get('layers.1.convState')!.data.length],
  ]);
  const at = (t: number, channel: number, s: number) => view.ssm[(t * h * p + channel) * n + s];
  for (let head = 0; head < h; head++)
    for (let s = 0; s < n; s++)
      for (let c = 0; c < p; c++) expect(at(2, head * p + c, s)).toBe(data[(head * n + s) * p + c]);
  expect(view.mostSsm).toBe(Math.max(...view.ssm.map(Math.abs)));
});

describe('what a recipe does, in words', () => {
  it('is what the table of recipes says', () => {
    expect(inWords(actionAt('fp32', 'scanIn'))).toBe('float32');
    expect(inWords(actionAt('naive-static', 'scanIn'))).toBe('int8');
    expect(inWords(actionAt('quamba', 'scanIn'))).toBe('int8, clipped at a percentile');
    expect(inWords(actionAt('quamba', 'scanOut'))).toBe('int8, rotated by a Hadamard matrix');
    expect(marksOf(actionAt('quamba-plus', 'scanIn'))).toEqual(['c', 'p']);
    expect(marksOf(actionAt('smoothquant', 'blockIn'))).toEqual(['s']);
    expect(marksOf(actionAt('dynamic', 'B'))).toEqual(['t']);
    expect(weightsAt('fp32', 'inProj')).toBeUndefined();
    expect(weightsAt('quamba', 'inProj')).toBe('int8');
    expect(weightsAt('w4a8-rtn', 'inProj')).toBe('int4');
  });

  it('uses every mark for some recipe', () => {
    const used = Object.keys(recipes).flatMap(name => sites.flatMap(site => marksOf(actionAt(name, site))));
    expect(new Set(used)).toEqual(new Set(Object.keys(MARKS)));
  });
});
