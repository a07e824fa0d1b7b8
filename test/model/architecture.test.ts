/** Architectures as values: the list, the words of recipes, and graphs whose names are any text. */
import { describe, expect, it } from 'vitest';
import { trace, weightsOf } from '../../src/graph.ts';
import { architectureOf, architectures, graphOf, roles, sites, states } from '../../src/model/index.ts';
import { ops } from '../../src/ops/index.ts';
import { inferTypes } from '../../src/plan/types.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { checkWords, parseRecipe, type Recipe, sameRecipe, w8, wordsOf } from '../../src/quant/scheme.ts';
import { run } from '../../src/run.ts';
import { tensor } from '../../src/tensor.ts';
import { hybridToys, sameBits, toy2, toys } from '../toy.ts';

const [, mamba, falcon] = architectures;

describe('the list', () => {
  it('has each name and model_type once, and finds the architecture of a config', () => {
    for (const key of ['name', 'modelType'] as const)
      expect(new Set(architectures.map(architecture => architecture[key])).size).toBe(architectures.length);
    for (const { config } of toys) expect(architectureOf(config).name).toBe(config.architecture);
    expect(() => architectureOf({ architecture: 'toString' })).toThrow(
      new RangeError(
        'config: architecture expected mamba or falcon-mamba or mamba2 or granite-hybrid or falcon-h1 or jamba; got "toString"',
      ),
    );
  });

  it('has words of one meaning each, and these are the words of the graphs', () => {
    const words = [...sites, ...roles, ...states];
    expect(new Set(words).size).toBe(words.length);
    for (const { config } of [...toys, toy2(), ...hybridToys()]) {
      const graph = graphOf(config);
      const { sites, floatSites = [], roles, states } = architectureOf(config);
      const found = graph.nodes.flatMap(node => (node.kind === 'site' ? node.site : []));
      expect([...new Set(found)].sort()).toEqual([...sites, ...floatSites, 'headIn'].sort());
      const used = graph.nodes.flatMap(node => (node.kind === 'op' && node.role ? node.role : []));
      expect([...new Set(used)].sort()).toEqual([...roles, 'embedding', 'head'].sort());
      const kept = [...graph.states.keys()].filter(ref => ref.startsWith('layers.'));
      expect([...new Set(kept.map(ref => ref.split('.').at(-1)))].sort()).toEqual([...states].sort());
    }
  });
});

describe('the words of a recipe', () => {
  it('of the table are those of every architecture', () => {
    for (const recipe of Object.values(recipes) as Recipe[])
      for (const architecture of architectures) checkWords(recipe, wordsOf(architecture));
  });

  const small = { ...mamba, name: 'small', sites: ['blockIn'], states: [], roles: ['inProj'] };
  it.each<[string, Recipe]>([
    [
      'recipe.at: small has no site "gate"; it has blockIn, headIn',
      { at: { blockIn: {}, headIn: {}, gate: {} } },
    ],
    [
      'recipe.weightsAt: small has no weight "conv"; it has inProj, embedding, head',
      { weightsAt: { head: w8, conv: w8 } },
    ],
    ['recipe.states: small has no state "ssmState"; it has none', { states: { ssmState: { bits: 8 } } }],
  ])('%s', (sentence, recipe) => {
    checkWords(recipe, wordsOf(falcon));
    expect(() => checkWords(recipe, wordsOf(small))).toThrow(new RangeError(sentence));
  });

  it('may be optional: a model then need not have them', () => {
    const json = { at: { gate: { basis: 'none' } }, states: { ssmState: { bits: 8 } } };
    const recipe = parseRecipe({ ...json, optional: ['gate', 'ssmState'] });
    expect(() => checkWords(recipe, wordsOf(small))).not.toThrow();
    expect(() => checkWords(parseRecipe({ ...json, optional: ['ssmState'] }), wordsOf(small))).toThrow(
      /"gate"/,
    );
  });

  it('are compared by value: the order of the fields says nothing', () => {
    const { weights, acts, at } = recipes.quamba;
    expect(sameRecipe({ at, acts, weights }, recipes.quamba)).toBe(true);
    expect(sameRecipe({ ...recipes.quamba, weights: { per: 'tensor', bits: 8 } }, recipes.quamba)).toBe(true);
    expect(sameRecipe({ ...recipes.quamba, acts: { ...acts, when: 'dynamic' } }, recipes.quamba)).toBe(false);
    const p = (percentile: number[]): Recipe => ({ at: { scanIn: { range: { percentile, ema: 1 } } } });
    expect(sameRecipe(p([0.1, 0.2]), p([0.2, 0.1]))).toBe(false);
  });
});

it('names of weights and values are any text, those of Object.prototype among them', () => {
  const model = (table: string, w: string, value: string) => {
    const graph = trace((g, tokens) => {
      const x = g.op(value, ops.embedding, { tokens, w: g.weight(table, [4, 8], 'embedding') });
      return g.op('y', ops.linear, { x: g.site('headIn', x), w: g.weight(w, [3, 8], 'head') });
    });
    const values = (size: number) => Float32Array.from({ length: size }, (_, i) => ((i * 7) % 11) - 5);
    const weights = new Map([
      [table, tensor(values(32), [4, 8])],
      [w, tensor(values(24), [3, 8])],
    ]);
    return { graph, weights: weightsOf(weights) };
  };
  const recipe: Recipe = { weightsAt: { head: w8, embedding: { bits: 8, per: 'row' } }, at: { headIn: {} } };
  const dynamic: Recipe = { ...recipe, at: { headIn: { ...recipes.dynamic.acts } } };
  const text = Int32Array.of(0, 3, 1);
  const plain = run(planOf(model('table', 'w', 'x'), dynamic), text);
  for (const names of [
    ['', 'constructor', 'toString'],
    ['__proto__', '', 'hasOwnProperty'],
    ['valueOf', '__proto__', 'constructor'],
  ] as const) {
    const program = model(...(names as readonly [string, string, string]));
    expect(inferTypes(program.graph).get('y')).toEqual({ dtype: 'f32', shape: ['l', 3] });
    expect(sameBits(run(planOf(program, dynamic), text).data, plain.data), `${names}`).toBe(true);
  }
});
