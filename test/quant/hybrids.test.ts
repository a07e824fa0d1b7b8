/** The recipes on hybrids: attention, MLP, keys and values, and layers that a recipe tells from the others. */
import { describe, expect, it } from 'vitest';
import { flatten, type OpNode } from '../../src/graph.ts';
import { architectureOf } from '../../src/model/index.ts';
import { calibrate } from '../../src/quant/calibrate.ts';
import { transform } from '../../src/quant/lower.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import {
  a8,
  checkWords,
  i8,
  i8dynamic,
  parseRecipe,
  type Recipe,
  siteAction,
  w4nearest,
  w8rows,
  wordsOf,
} from '../../src/quant/scheme.ts';
import { interpret, run } from '../../src/run.ts';
import { hybridToys, planOfToy, sameBits, statsOfToy, toy2 } from '../toy.ts';

const rows = Object.entries<Recipe>(recipes);
const toys = hybridToys();

const distance = (a: Float32Array, b: Float32Array): number => {
  const size = (values: Iterable<number>) => Math.sqrt([...values].reduce((sum, x) => sum + x * x, 0));
  return size(a.map((x, i) => x - b[i])) / size(b);
};
const linears = (nodes: readonly OpNode[], end: string) =>
  nodes.filter(({ op, out }) => op.name.startsWith('linear') && out.y.endsWith(end));

describe.each(toys)('$name', of => {
  const float = run(of.program, of.text).data;

  it('has the words of every row', () => {
    for (const [, recipe] of rows) checkWords(recipe, wordsOf(architectureOf(of.config)));
  });

  it.each(rows)('%s transforms without changing the function, and loses little to rounding', (_, recipe) => {
    const turned = transform(of.program, recipe, statsOfToy(of, recipe).channels);
    expect(distance(run(turned, of.text).data, float)).toBeLessThan(2e-5);
    const rounded = distance(run(planOfToy(of, recipe), of.text).data, float);
    expect(rounded).toBeLessThan(recipe.weights?.bits === 4 ? 0.7 : 0.5);
    if (recipe.weights) expect(rounded).toBeGreaterThan(1e-4);
  });

  it('gives the same bits in any cut, with keys and values in int8 too', () => {
    for (const name of ['quamba-ssd', 'quamba-ssd-int8-kv'] as const) {
      const plan = planOfToy(of, recipes[name]);
      const whole = run(plan, of.text).data;
      const sequence = interpret(plan).open();
      const parts = [0, 1, 2, 7, 20].map((at, i, all) =>
        sequence.feed(of.text.subarray(at, all[i + 1] ?? of.text.length)),
      );
      expect(sameBits(Float32Array.from(parts.flatMap(({ data }) => [...data])), whole), name).toBe(true);
    }
    const [own, int8] = (['quamba-ssd', 'quamba-ssd-int8-kv'] as const).map(
      name => run(planOfToy(of, recipes[name]), of.text).data,
    );
    expect(distance(int8, own)).toBeGreaterThan(0);
    expect(distance(int8, own)).toBeLessThan(0.05);
  });

  it('rotates the residual stream in the weights alone, but for a tied head', () => {
    const turned = transform(of.program, { residual: 'hadamard' });
    const turns = flatten(turned.graph.nodes).filter(({ op }) => op.name === 'fwht');
    expect(turns).toHaveLength(2);
    for (const end of ['.attnIn', '.mlpIn', '.blockIn'])
      for (const node of flatten(turned.graph.nodes))
        if (node.in.x?.endsWith(end)) expect(node.in.w).toMatch(/\.residual$/);
    for (const end of ['.out', '.o', '.down'])
      for (const node of linears(flatten(turned.graph.nodes), end)) expect(node.in.w).toMatch(/\.residual$/);
  });

  it('rounds queries, keys and values only where a recipe names them', () => {
    const words = (recipe: Recipe) => {
      const plan = planOf(of.program, recipe, calibrate(of.program, recipe, of.samples.slice(0, 1)));
      const codes = flatten(plan.graph.nodes).flatMap(({ op, out }) => (op.name === 'quantize' ? out.q : []));
      return new Set(codes.map(ref => ref.split('.').at(-1)));
    };
    const { sites } = architectureOf(of.config);
    expect(words({ weights: w8rows, acts: a8 })).toEqual(new Set(sites));
    expect(words({ weights: w8rows, acts: a8, at: { key: a8 } })).toEqual(new Set([...sites, 'key']));
  });
});

describe('what a recipe says of a site holds for those that are like it', () => {
  it('scanOut: the product of an MLP; blockIn: the inputs of attention and MLP', () => {
    const basis = (recipe: Recipe, site: string) => siteAction(recipe, site).basis;
    expect(basis(recipes.quamba, 'mlpProduct')).toBe('hadamard');
    expect(basis(recipes.quamba, 'attnOut')).toBe('none');
    for (const site of ['attnIn', 'mlpIn']) expect(basis(recipes.smoothquant, site)).toEqual({ smooth: 0.5 });
  });

  it('but not where the recipe names the site itself', () =>
    expect(
      siteAction({ ...recipes.quamba, at: { scanOut: { basis: 'hadamard' }, mlpProduct: {} } }, 'mlpProduct')
        .basis,
    ).toBe('none'));
});

describe('weightsIn', () => {
  const recipe: Recipe = {
    weights: w4nearest,
    weightsIn: { attention: w8rows },
    weightsAt: { conv: w8rows },
    acts: { ...a8, when: 'dynamic' },
  };
  const [granite, falcon] = toys;
  /** The ops of the linears of each layer. */
  const opsOf = (of: (typeof toys)[number], made: Recipe) =>
    [0, 1].map(layer => {
      const nodes = flatten(planOf(of.program, made).graph.nodes);
      const inLayer = nodes.filter(({ out }) => out.y?.startsWith(`layers.${layer}.`));
      return [...new Set(linears(inLayer, '').map(({ op }) => op.name))];
    });

  it('has a scheme of its own for the layers that attend, and for the one before each', () => {
    expect(opsOf(granite, recipe)).toEqual([['linear-i4'], ['linear-i8']]);
    expect(opsOf(granite, { ...recipe, weightsIn: { beforeAttention: w8rows } })).toEqual([
      ['linear-i8'],
      ['linear-i4'],
    ]);
    expect(opsOf(falcon, recipe)).toEqual([['linear-i8'], ['linear-i8']]);
  });

  it('says nothing of a model without attention', () => {
    const { weightsIn: _, ...plain } = recipe;
    const [a, b] = [recipe, plain].map(made => run(planOf(toy2().program, made), toy2().text).data);
    expect(sameBits(a, b)).toBe(true);
  });

  it('comes from JSON, and a word that there is not is refused', () => {
    expect(parseRecipe(JSON.parse(JSON.stringify(recipe)))).toEqual(recipe);
    expect(() => parseRecipe({ weightsIn: { scan: w8rows } })).toThrow(
      new TypeError('recipe.weightsIn: no field "scan"; expected attention, beforeAttention'),
    );
    expect(() => parseRecipe({ weightsIn: { attention: { bits: 3 } } })).toThrow(
      'recipe.weightsIn.attention.bits expected 8 or 4; got 3',
    );
  });
});

it('keys and values have no steps that are known before', () => {
  const [{ program }] = toys;
  expect(() => transform(program, { states: { keyCache: i8 } })).toThrow(
    new RangeError(
      'recipe.states.keyCache.when expected dynamic (it grows with the text, and has no steps that are known before); got static',
    ),
  );
  expect(() => transform(program, { states: { keyCache: i8dynamic } })).not.toThrow();
});
