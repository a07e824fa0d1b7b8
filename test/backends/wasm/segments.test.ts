/** An int8 product whose columns go to several tensors: each segment has the bits, and the errors, of the reference. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { prepare } from '../../../src/backends/backend.ts';
import { wasm } from '../../../src/backends/wasm/index.ts';
import { Quantize, QuantizeSegments } from '../../../src/backends/wasm/instruction-formats.ts';
import { type Program, trace, weightsOf } from '../../../src/graph.ts';
import { ops } from '../../../src/ops/index.ts';
import { fuse } from '../../../src/plan/fuse.ts';
import { interpret } from '../../../src/run.ts';
import { type Tensor, tensor } from '../../../src/tensor.ts';
import { random } from '../../toy.ts';
import { codesOf } from './codes.ts';

const INPUTS = 12;

/** x W^T in segments of these sizes, of which `shown` is the result. `broken`: outputs that are NaN. */
function program(
  sizes: readonly number[],
  shown: number,
  seed: number,
  broken: readonly number[] = [],
): Program {
  const outputs = sizes.reduce((a, b) => a + b, 0);
  const next = random(seed);
  const integers = (size: number) => Int8Array.from({ length: size }, () => Math.floor(256 * next()) - 128);
  const w = integers(outputs * INPUTS);
  const wscale = Float32Array.from({ length: outputs }, () => 0.001 + next() / 100);
  for (const row of broken) {
    w.fill(0, row * INPUTS, (row + 1) * INPUTS);
    wscale[row] = Number.POSITIVE_INFINITY;
  }
  const weights = new Map<string, Tensor>([
    ['table', tensor(integers(8 * INPUTS), [8, INPUTS])],
    ['rows', tensor(new Float32Array(8).fill(1), [8])],
    ['xscale', tensor(Float32Array.of(1), [1])],
    ['w', tensor(w, [outputs, INPUTS])],
    ['wscale', tensor(wscale, [outputs, 1])],
    ...sizes.map((_, i) => [`scale${i}`, tensor(Float32Array.of(0.01 + next() / 10), [1])] as const),
  ]);
  const graph = trace((g, tokens) => {
    const constant = (name: string) => {
      const { shape, dtype } = weights.get(name)!;
      return g.weight(name, shape, '', dtype);
    };
    const float = g.op('float', ops.embeddingI8, { tokens, w: constant('table'), scale: constant('rows') });
    const x = g.op('x', ops.quantize, { x: float, scale: constant('xscale') });
    const y = g.op('y', ops.linearI8, {
      x,
      xscale: constant('xscale'),
      w: constant('w'),
      wscale: constant('wscale'),
    });
    let start = 0;
    const parts = sizes.map((size, i) => {
      const slice = g.op(`slice${i}`, ops.slice, { x: y }, { start, size });
      start += size;
      const q = g.op(`q${i}`, ops.quantize, { x: slice, scale: constant(`scale${i}`) });
      return g.op(`part${i}`, ops.dequantize, { q, scale: constant(`scale${i}`) });
    });
    return parts[shown];
  });
  return fuse({ graph, weights: weightsOf(weights) });
}

const tokens = (rows: number) => Int32Array.from({ length: rows }, (_, i) => (5 * i) % 8);

it('gives every segment the bits of the reference', () => {
  const sizes = fc.array(
    fc.integer({ min: 1, max: 12 }).map(fours => 4 * fours),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(
      sizes,
      fc.integer({ min: 1, max: 40 }),
      fc.nat(99),
      fc.constantFrom(1, 2, 5, 130),
      (whole, last, seed, rows) => {
        const all = [...whole, last];
        for (const shown of all.keys()) {
          const plan = program(all, shown, seed);
          const expected = interpret(plan).open().feed(tokens(rows));
          expect(prepare(wasm, plan).open().feed(tokens(rows))).toEqual(expected);
        }
      },
    ),
    { numRuns: 40 },
  );
});

it('says which segment, row and column met a NaN', () => {
  for (const [sizes, broken] of [
    [[20, 8, 3], [0]],
    [[20, 8, 3], [19]],
    [
      [20, 8, 3],
      [20, 30, 19],
    ], // the first segment’s, though it is furthest to the right
    [[20, 8, 3], [30]],
    [[7], [6]],
  ] as const)
    for (const rows of [1, 4, 130]) {
      const plan = program(sizes, 0, 1, broken);
      const message = (feed: typeof interpret) => {
        try {
          feed(plan).open().feed(tokens(rows));
        } catch (error) {
          return (error as Error).message;
        }
        return 'no error';
      };
      const expected = message(interpret);
      expect(expected).toContain('NaN at [0, ');
      expect(message(p => prepare(wasm, p))).toBe(expected);
    }
});

it('is one instruction where segments begin at multiples of 4, and quantizes behind the product elsewhere', () => {
  const count = (sizes: readonly number[], { code }: { readonly code: number }) =>
    codesOf(program(sizes, 0, 1)).filter(each => each === code).length;
  expect(count([16, 4, 3], Quantize)).toBe(1); // of x
  expect(count([16, 4, 3], QuantizeSegments)).toBe(0);
  expect(count([3, 16, 4], Quantize)).toBe(1);
  expect(count([3, 16, 4], QuantizeSegments)).toBe(1);
});
