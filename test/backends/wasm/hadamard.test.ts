/** The Hadamard sizes beyond those of the suite: WebAssembly has the reference's bits, alone and inside a plan. */
import { describe, expect, it } from 'vitest';
import { prepare } from '../../../src/backends/backend.ts';
import { reference } from '../../../src/backends/reference.ts';
import { wasm } from '../../../src/backends/wasm/index.ts';
import { bind } from '../../../src/op.ts';
import { factor } from '../../../src/ops/hadamard.ts';
import { ops } from '../../../src/ops/index.ts';
import { planOf } from '../../../src/quant/pipeline.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import { randomModel } from '../../../src/random/model.ts';
import { nominalStats } from '../../../src/random/nominal-ranges.ts';
import { shapes } from '../../../src/random/shapes.ts';
import { tensor } from '../../../src/tensor.ts';
import { noise, random, sameBits } from '../../toy.ts';

const ORDERS = [36, 44, 52, 60, 68, 76, 84, 100, 108, 124, 132, 140, 148, 164, 180, 312, 368, 464, 752, 1020];

describe('fwht', () => {
  it.each([...ORDERS.flatMap(K => [K, 2 * K, 4 * K, 8 * K]), 1152, 1920, 2944])('of size %d', n => {
    const x = tensor(noise(3 * n, random(n), 2), [3, n]);
    for (const inverse of [false, true]) {
      const { inputs, attrs, outputs, dims, states } = bind(ops.fwht, { x }, { inverse });
      wasm.kernelOf(ops.fwht)!(inputs, attrs, outputs, dims, states);
      expect(sameBits(outputs.y.data, ops.fwht({ x }, { inverse }).y.data), `${inverse}`).toBe(true);
    }
  });
});

describe('a plan', () => {
  it.each([
    [18, 36],
    [26, 52],
    [54, 108],
    [144, 288],
    [184, 368],
  ])('of d_model %d, d_inner %d', (dModel, dInner) => {
    const config = { ...shapes['mamba-130m'], layers: 1, dModel, dInner, dtRank: 5, vocabSize: 40 };
    const program = randomModel(config, 3);
    const tokens = Int32Array.from({ length: 21 }, (_, i) => (i * 7) % 40);
    for (const name of ['quamba', 'quamba-rotated', 'dynamic-rotated'] as const) {
      if (name === 'quamba-rotated' && !factor(dModel)) continue;
      const plan = planOf(program, recipes[name], nominalStats(program, recipes[name]));
      const [got, wanted] = [wasm, reference].map(backend => prepare(backend, plan).open().feed(tokens).data);
      expect(sameBits(got, wanted), name).toBe(true);
    }
  });
});
