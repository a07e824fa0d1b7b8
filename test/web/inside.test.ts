/** The picture of a block, against the model's own sites, and the words for what recipes do there. */
import { describe, expect, it } from 'vitest';
import { blockSites, roles, sites } from '../../src/model/index.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { blockGraph } from '../../web/src/inside/block-graph.ts';
import { HEIGHT, PLACES, STATES, WIDTH } from '../../web/src/inside/block-places.ts';
import { actionAt, inWords, MARKS, marksOf, SITES, weightsAt } from '../../web/src/inside/words.ts';

describe('the picture of a block', () => {
  const { arrows, roles: drawn } = blockGraph();
  const has = (from: string, to: string) => arrows.some(arrow => arrow.from === from && arrow.to === to);

  it('has a place for every site, without words, and no other part without words', () => {
    const wordless = Object.keys(PLACES).filter(name => PLACES[name].label.length === 0);
    expect(wordless.sort()).toEqual([...sites].sort());
    for (const { of } of Object.values(STATES)) expect(PLACES).toHaveProperty(of);
  });

  it('joins every site of a block to what it reads and what reads it', () => {
    for (const site of blockSites) {
      expect(
        arrows.filter(({ to }) => to === site),
        site,
      ).toHaveLength(1);
      expect(
        arrows.some(({ from }) => from === site),
        site,
      ).toBe(true);
    }
  });

  it('shows what the model computes', () => {
    const read = (name: string) => arrows.filter(({ to }) => to === name).map(({ from }) => from);
    expect(read('y').sort()).toEqual(['B', 'C', 'dtPositive', 'gate', 'scanIn']);
    expect(read('dtBC')).toEqual(['scanIn']);
    expect(read('h').sort()).toEqual(['input', 'out']);
    expect(has('xz', 'convIn') && has('xz', 'gate')).toBe(true);
    expect(Object.fromEntries(drawn)).toEqual({
      ...{ xz: 'inProj', conv: 'conv', dtBC: 'xProj', dtRaw: 'dtProj', out: 'outProj' },
    });
    for (const role of drawn.values()) expect(roles).toContain(role);
  });

  it('runs from top to bottom, inside the picture', () => {
    for (const { from, to } of arrows) expect(PLACES[from].y, `${from} → ${to}`).toBeLessThan(PLACES[to].y);
    for (const [name, { x, y, width, height }] of Object.entries(PLACES)) {
      expect(x - width / 2, name).toBeGreaterThanOrEqual(0);
      expect(x + width / 2, name).toBeLessThanOrEqual(WIDTH);
      expect(y + height / 2, name).toBeLessThanOrEqual(HEIGHT);
    }
  });

  it('lays no part over another', () => {
    const parts = Object.entries(PLACES);
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

  it('uses every mark for some recipe, and has a name for every site', () => {
    const used = Object.keys(recipes).flatMap(name => sites.flatMap(site => marksOf(actionAt(name, site))));
    expect(new Set(used)).toEqual(new Set(Object.keys(MARKS)));
    expect(Object.keys(SITES).sort()).toEqual([...sites].sort());
  });
});
