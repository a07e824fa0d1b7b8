/** The laws of transforms, on graphs that nobody designed. `QUAMBA_RUNS=10000` tries more of them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import type { Program } from '../../src/graph.ts';
import { fuse } from '../../src/plan/fuse.ts';
import { calibrate, needsCalibration } from '../../src/quant/calibrate.ts';
import { quantize, transform } from '../../src/quant/lower.ts';
import { streamOf } from '../../src/quant/residual.ts';
import type { Recipe } from '../../src/quant/scheme.ts';
import { run } from '../../src/run.ts';
import { sameBits } from '../toy.ts';
import { inputFor, programs, quantizing, recipesWith } from './graphs.ts';

const far = (a: Float32Array, b: Float32Array): number =>
  Math.max(...a.map((x, i) => Math.abs(x - b[i]))) / Math.max(...b.map(Math.abs));
const statsOf = (program: Program, recipe: Recipe) =>
  needsCalibration(program, recipe) ? calibrate(program, recipe, [inputFor(program)]) : undefined;
/** A program of frames may have no residual stream, which is refused. */
const fitting = ({ graph }: Program, recipe: Recipe): Recipe =>
  streamOf(graph).size ? recipe : { ...recipe, residual: undefined };
const numRuns = Number(process.env.QUAMBA_RUNS ?? 150);

describe('a random program', () => {
  it('computes the same after transform', () => {
    fc.assert(
      fc.property(programs, recipesWith({}), (program, row) => {
        const recipe = fitting(program, row);
        const transformed = transform(program, recipe, statsOf(program, recipe)?.channels);
        const text = inputFor(program);
        const error = far(run(transformed, text).data, run(program, text).data);
        expect(error).toBeLessThan(1e-4); // of 10,000 the farthest was 2e-6 away
      }),
      { numRuns },
    );
  });

  it('has a plan that is near to it, with the same bits when it is fused, on wasm, and in any cut', () => {
    fc.assert(
      fc.property(programs, quantizing, fc.nat(9), (program, row, cut) => {
        const recipe = fitting(program, row);
        const text = inputFor(program);
        const stats = statsOf(program, recipe);
        const plan = quantize(transform(program, recipe, stats?.channels), stats);
        const bits = run(plan, text).data;
        expect(far(bits, run(program, text).data)).toBeLessThan(0.7); // 4 bits and 12 nodes: 0.4; half of all are within 0.01
        const executable = prepare(wasm, fuse(plan));
        const sequence = executable.open();
        const at = cut * (program.graph.width ?? 1);
        const parts = [text.subarray(0, at), text.subarray(at)].filter(part => part.length > 0);
        const rows = parts.flatMap(part => [...sequence.feed(part).data]);
        executable.dispose?.();
        expect(sameBits(Float32Array.from(rows), bits)).toBe(true);
      }),
      { numRuns },
    );
  });
});
