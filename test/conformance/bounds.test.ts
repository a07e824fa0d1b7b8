/**
 * Bounds are not too tight: what is right in another arithmetic, or in another order, passes. That they are not too loose is
 * shown by the planted bugs (broken.test.ts).
 */

import { describe, expect, it } from 'vitest';
import { reference } from '../../src/backends/reference.ts';
import type { Tolerance } from '../../src/conformance/case.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { requantized, tolerances } from '../../src/conformance/judge/bounds.ts';
import { compare } from '../../src/conformance/judge/compare.ts';
import { expectedOf } from '../../src/conformance/judge/judge.ts';
import { conformance } from '../../src/conformance/suite.ts';
import { type AnyOp, bind } from '../../src/op.ts';
import { ops } from '../../src/ops/index.ts';
import { type Tensor, tensor } from '../../src/tensor.ts';
import { goldenFolders, readGolden } from '../golden/files.ts';
import { arithmetics, honest } from './honest.ts';

const all: readonly AnyOp[] = Object.values(ops);

describe('bounds', () => {
  describe.each(arithmetics)('ops written plainly in $name pass', arithmetic => {
    const cases = conformance(honest(arithmetic), { profile: 'tolerant', goldens: goldens() });
    it.each(all.map(op => op.name))('%s', name => {
      const verdicts = cases
        .filter(({ address, quick }) => quick && address.startsWith(`op/${name}/`))
        .map(({ address, run }) => ({ address, ...run() }));
      expect(verdicts.length).toBeGreaterThan(0);
      expect(verdicts.filter(({ outcome }) => outcome !== 'pass')).toEqual([]);
    });
  });

  it.each(all.map(op => [op.name, op] as const))("PyTorch's float32 of %s passes", (name, op) => {
    const folder = goldenFolders()[name];
    expect(folder.length).toBeGreaterThan(0);
    for (const golden of folder) {
      const { inputs, attrs, kept, f32, out } = readGolden(`${name}/${golden}`);
      const call = bind(op, inputs, attrs, kept);
      const expected = expectedOf(op, call);
      const { mismatch } = compare(expected, { ...f32, ...out }, 'tolerant', tolerances(op, call, expected));
      expect(mismatch, golden).toBeUndefined();
    }
  });

  it('the reference is off by nothing, and every output has a bound for each element', () => {
    const cases = conformance(reference, { profile: 'tolerant', goldens: goldens() });
    for (const { vectors, quick } of cases) {
      if (!vectors || !quick) continue;
      const { op, expected, tolerances } = vectors();
      expect(Object.keys(tolerances).sort(), op).toEqual(Object.keys(expected).sort());
      for (const [output, { bounds, bias, formula }] of Object.entries(tolerances)) {
        expect(formula).not.toBe('');
        expect(bias).toBeGreaterThanOrEqual(0);
        expect(bounds.length).toBe(expected[output].data.length);
        expect(bounds.every(bound => bound >= 0 && bound < Number.POSITIVE_INFINITY)).toBe(true);
      }
      expect(compare(expected, expected, 'tolerant', tolerances)).toEqual({ worst: 0 });
    }
  });
});

describe('compare', () => {
  const floats = (...values: number[]) => ({ y: tensor(Float32Array.from(values), [1, values.length]) });
  const codes = (...values: number[]) => ({ q: tensor(Int8Array.from(values), [1, values.length]) });
  const within = (bound: number, bias: number, size: number): Record<string, Tolerance> => ({
    y: { formula: 'b', bounds: new Float64Array(size).fill(bound), bias },
  });

  it('in exact, takes the same bits only', () => {
    expect(compare(floats(1, -0), floats(1, -0), 'exact')).toEqual({ worst: 0 });
    expect(compare(floats(1, -0), floats(1, 0), 'exact').mismatch).toMatchObject({
      ...{ tensor: 'y', index: [0, 1], expected: -0, got: 0, ulp: 0, wrong: 1, of: 2 },
    });
    const next = Math.fround(1 + 2 ** -23);
    expect(compare(floats(1, 2, 3), floats(1, next, next), 'exact').mismatch).toMatchObject({
      ...{ index: [0, 1], expected: 2, got: next, ulp: 2 ** 23 - 1, bound: 0, wrong: 2, of: 3 },
    });
  });

  it.each(['exact', 'tolerant'] as const)(
    'in %s, no NaN passes, whatever is expected and allowed',
    profile => {
      const wide = within(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 2);
      for (const expected of [floats(1, 2), floats(1, Number.NaN)])
        expect(compare(expected, floats(1, Number.NaN), profile, wide)).toMatchObject({
          ...{ worst: Number.POSITIVE_INFINITY, mismatch: { index: [0, 1], ulp: Number.POSITIVE_INFINITY } },
        });
    },
  );

  it.each(['exact', 'tolerant'] as const)('in %s, takes no other type, shape, length or name', profile => {
    const shapeless = { y: { ...floats(1, 2).y, shape: [2] } };
    const short = { y: { dtype: 'f32', shape: [1, 2], data: new Float32Array(1) } as Tensor };
    const formulaOf = (got: Record<string, Tensor>) => compare(floats(1, 2), got, profile).mismatch?.formula;
    expect(formulaOf({})).toBe('expected f32[1, 2]; got no output of this name');
    expect(formulaOf({ ...floats(1, 2), ...codes(1) })).toBe(
      'no output of this name was expected; got i8[1, 1]',
    );
    expect(formulaOf(shapeless)).toBe('expected f32[1, 2]; got f32[2]');
    expect(formulaOf(short)).toBe('expected 2 values; got 1');
    expect(formulaOf({ y: tensor(Int8Array.of(1, 2), [1, 2]) })).toBe('expected f32[1, 2]; got i8[1, 2]');
  });

  it('in tolerant, holds each element to its bound', () => {
    expect(compare(floats(1, -0), floats(1.5, 0), 'tolerant', within(1, 1, 2))).toEqual({ worst: 0.5 });
    expect(compare(floats(1, 2), floats(1, 4), 'tolerant', within(1, 9, 2))).toMatchObject({
      ...{ worst: 2, mismatch: { index: [0, 1], expected: 2, got: 4, bound: 1, formula: 'b', wrong: 1 } },
    });
    expect(compare(floats(1), floats(1 + 2 ** -20), 'tolerant').mismatch).toMatchObject({ bound: 0 });
  });

  it('in tolerant, counts an overflow as 2¹²⁸', () => {
    const most = 3.4028234663852886e38;
    const infinite = floats(Number.POSITIVE_INFINITY);
    expect(compare(infinite, floats(most), 'tolerant', within(2 ** 104, 2 ** 104, 1))).toEqual({ worst: 1 });
    expect(compare(infinite, floats(1), 'tolerant', within(2 ** 104, 2 ** 104, 1)).mismatch).toBeDefined();
    expect(
      compare(infinite, floats(Number.NEGATIVE_INFINITY), 'tolerant', within(2 ** 104, 1, 1)).mismatch,
    ).toBeDefined();
  });

  it('in tolerant, finds a bias of the mean, and one toward zero that cancels in it', () => {
    const expected = floats(1, -1, 1, -1);
    const wide = within(1, 0.1, 4);
    expect(compare(expected, floats(1.25, -1.25, 0.75, -0.75), 'tolerant', wide).mismatch).toBeUndefined();
    expect(compare(expected, floats(1.25, -0.75, 1.25, -0.75), 'tolerant', wide).mismatch).toMatchObject({
      ...{ index: [], got: 0.25, bound: 0.1, formula: 'the mean of the signed errors: b' },
    });
    expect(compare(expected, floats(0.75, -0.75, 0.75, -0.75), 'tolerant', wide).mismatch).toMatchObject({
      got: -0.25,
    });
  });

  it('in tolerant, lets requantized codes be one step off, a few of them', () => {
    const expected = { q: tensor(new Int8Array(300), [3, 100]) };
    const off = (...steps: number[]) => {
      const data = new Int8Array(300);
      data.set(steps);
      return compare(expected, { q: tensor(data, [3, 100]) }, 'tolerant', { q: requantized(expected.q) });
    };
    expect(off(1, -1, 1).mismatch).toBeUndefined();
    expect(off(2).mismatch).toMatchObject({ index: [0, 0], got: 2, bound: 1 });
    expect(off(1, -1, 1, -1).mismatch).toMatchObject({ wrong: 4, of: 300 });
    expect(compare(codes(1), codes(2), 'tolerant').mismatch).toMatchObject({ ulp: 1, bound: 0 });
  });
});
