/** Scales of each token in fused instructions: what a plan of them becomes, and that every mixture has the reference's bits. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { prepare } from '../../../src/backends/backend.ts';
import { wasm } from '../../../src/backends/wasm/index.ts';
import * as format from '../../../src/backends/wasm/instruction-formats.ts';
import { programsOf } from '../../../src/conformance/cases/fused-parts.ts';
import { fusedPrograms } from '../../../src/conformance/cases/fused-programs.ts';
import type { Program } from '../../../src/graph.ts';
import { mamba } from '../../../src/model/mamba.ts';
import { foldConstants } from '../../../src/plan/fold.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import { a8, type Recipe, w8 } from '../../../src/quant/scheme.ts';
import { interpret } from '../../../src/run.ts';
import { planOfToy, toy } from '../../toy.ts';
import { cut, difference, run } from '../feeds.ts';
import { codesOf } from './codes.ts';

it('a plan of them has no instruction for one op but embedding, the last product and norm', () => {
  const { Add, AbsmaxScale, Quantize, Dequantize, Slice, Softplus, CausalConv1d, SelectiveScan, Fwht } =
    format;
  const unfused = [AbsmaxScale, Quantize, Dequantize, Slice, Softplus, CausalConv1d, SelectiveScan, Fwht];
  const rows = ['dynamic-rotated', 'quamba', 'quamba-f16-state', 'quamba-int8-state'] as const;
  for (const recipe of rows.map(row => recipes[row])) {
    const codes = codesOf(foldConstants(planOfToy(toy, recipe)));
    const { layers } = toy.config;
    const count = (one: number) => codes.filter(each => each === one).length;
    expect(unfused.filter(({ code }) => count(code) > 0)).toEqual([]);
    expect(count(Add.code)).toBeLessThanOrEqual(1); // before the last norm, which nobody quantizes
    expect(count(format.FwhtQuantize.code)).toBe(layers);
  }
  // of in_proj, the convolution, x_proj, dt_proj
  const codes = codesOf(foldConstants(planOfToy(toy, recipes['dynamic-rotated'])));
  expect(codes.filter(each => each === format.QuantizeSegments.code).length).toBe(4 * toy.config.layers);
});

it('the product inside an MLP is one instruction, whatever quantizes it and whether it is rotated; its halves are not copied', () => {
  const products = fusedPrograms.filter(({ name }) => name === 'swiglu-quantize');
  expect(products.length).toBeGreaterThan(20);
  const { Embedding, SwigluQuantize, Dequantize } = format;
  const expected = [Embedding, SwigluQuantize, Dequantize].map(({ code }) => code);
  for (const product of products)
    for (const { program } of programsOf(product)) expect([...new Set(codesOf(program))]).toEqual(expected);
});

it('any mixture of scales for all and for each token has the bits of the reference, in any cut', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.constantFrom(...mamba.sites), { maxLength: mamba.sites.length }),
      fc.constantFrom(32, 16, 8),
      (dynamic, bits) => {
        const recipe: Recipe = {
          weights: w8,
          acts: a8,
          at: Object.fromEntries(dynamic.map(site => [site, { when: 'dynamic' }])),
          ...(bits !== 32 && { states: { ssmState: { bits: bits as 16 | 8 } } }),
        };
        const plan = planOfToy(toy, recipe);
        const text = toy.text.subarray(0, 20);
        const expected = run(interpret(plan), [text]);
        for (const sizes of [[20], [1, 1, 18]]) {
          const actual = run(prepare(wasm, plan), cut(text, sizes));
          expect(difference(actual.logits, expected.logits)).toBe('');
          for (const ref in expected.state)
            expect(difference(actual.state[ref].data, expected.state[ref].data), ref).toBe('');
        }
      },
    ),
    { numRuns: 12 },
  );
});

it('a NaN in a row of its own scale is where the reference says', () => {
  const plan = planOfToy(toy, recipes['dynamic-rotated']);
  const broken: Program = {
    ...plan,
    weights: {
      ...plan.weights,
      read: ref => {
        const t = plan.weights.read(ref);
        return ref.endsWith('.conv1d.bias')
          ? { ...t, data: t.data.map((x, i) => (i === 3 ? Number.NaN : x)) }
          : t;
      },
    } as Program['weights'],
  };
  const message = (feed: typeof interpret): string => {
    try {
      feed(broken).open().feed(toy.text);
    } catch (error) {
      return (error as Error).message;
    }
    return 'no error';
  };
  const expected = message(interpret);
  expect(expected).toContain('NaN at [0, 0]'); // its scale is NaN, and so is every step
  expect(message(p => prepare(wasm, p))).toBe(expected);
});
