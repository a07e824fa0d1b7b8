/** exp, exp2, log1p, softplus, silu, sin and cos against 64 decimal digits; rounding against brute force. */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dequantize } from '../../src/ops/dequantize.ts';
import { cos, exp, exp2, log1p, quantizeValue, silu, sin, softplus } from '../../src/ops/numerics.ts';
import { quantize } from '../../src/ops/quantize.ts';
import { random } from '../toy.ts';
import {
  aroundBorders,
  evenly,
  everyExponent,
  exactError,
  fingerprint,
  functions,
  isActive,
  isDefined,
  type Name,
  nearError,
  nextFloat,
  type Oracle,
  ulp,
} from './numerics-oracle.ts';

const implemented = { exp, exp2, log1p, softplus, silu, sin, cos };
const names = Object.keys(implemented) as Name[];

const DENORMAL = 2 ** -149;
const LN2 = Math.fround(Math.LN2);
const { POSITIVE_INFINITY: inf, NaN: nan } = Number;

/* biome-ignore format: a table */
const ends: Record<Name, readonly (readonly [x: number, y: number])[]> = {
  exp:      [[0, 1], [-0, 1], [inf, inf], [-inf, 0], [nan, nan], [DENORMAL, 1], [-DENORMAL, 1], [89, inf], [-104, 0], [3e38, inf], [-3e38, 0]],
  exp2:     [[0, 1], [-0, 1], [inf, inf], [-inf, 0], [nan, nan], [DENORMAL, 1], [-DENORMAL, 1], [128, inf], [127, 2 ** 127], [-149, DENORMAL], [-150, 0], [-126, 2 ** -126], [10, 1024]],
  log1p:    [[0, 0], [-0, -0], [inf, inf], [-1, -inf], [-2, nan], [-inf, nan], [nan, nan], [DENORMAL, DENORMAL], [-DENORMAL, -DENORMAL]],
  softplus: [[0, LN2], [-0, LN2], [inf, inf], [-inf, 0], [nan, nan], [DENORMAL, LN2], [-DENORMAL, LN2], [25, 25], [-20, Math.fround(2.0611536e-9)]],
  silu:     [[0, 0], [-0, -0], [inf, inf], [-inf, -0], [nan, nan], [DENORMAL, 0], [-DENORMAL, -0], [2 ** 127, 2 ** 127], [-(2 ** 127), -0], [25, 25]],
  sin:      [[0, 0], [-0, -0], [inf, nan], [-inf, nan], [nan, nan], [DENORMAL, DENORMAL], [-DENORMAL, -DENORMAL], [2 ** 21, nan]],
  cos:      [[0, 1], [-0, 1], [inf, nan], [-inf, nan], [nan, nan], [DENORMAL, 1], [-DENORMAL, 1], [-(2 ** 21), nan]],
};

/** Runs of neighbouring arguments, rising, in every binade that an exponential can see. */
function* neighbours(run: number): Generator<number> {
  for (let exponent = -30; exponent < 7; exponent++)
    for (const x of [1, 1.37, 1.7].flatMap(m => [m * 2 ** exponent, -m * 2 ** exponent]))
      for (let i = 0; i < run && x > -1; i++) yield nextFloat(Math.fround(x), i);
}

/** Arguments spread over the interesting interval, and over the exponents in it. */
function* seeded({ from, to }: Oracle, count: number): Generator<number> {
  const next = random(11);
  const width = Math.min(to, 130) - from;
  for (let i = 0; i < count; i++) {
    yield Math.fround(from + width * next());
    const small = Math.fround((next() < 0.5 ? -1 : 1) * 2 ** (7 - 40 * next()));
    if (small > from && small < to) yield small;
  }
}

describe.each(names)('%s', name => {
  const ours = implemented[name];
  const oracle = functions[name];

  it('is within 2 ulp of the truth, and float64 is a fair judge', () => {
    for (const x of [...seeded(oracle, 400), ...aroundBorders(oracle, 1)]) {
      if (!isActive(oracle, x)) continue;
      const y = ours(x);
      const exact = exactError(oracle, x, y);
      if (!(exact <= 2)) expect.fail(`${name}(${x}) = ${y} is ${exact} ulp from the truth`);
      const near = nearError(oracle, x, y);
      if (!(Math.abs(near - exact) < 1e-3))
        expect.fail(`float64 ${name}(${x}) misjudges by ${near - exact} ulp`);
    }
  });

  it('is a float32 within 2 ulp on a dense sweep', () => {
    for (const points of [everyExponent(200), evenly(oracle, 100_000), aroundBorders(oracle, 40)])
      for (const x of points) {
        if (!isDefined(name, x)) continue;
        const y = ours(x);
        if (!Object.is(Math.fround(y), y)) expect.fail(`${name}(${x}) = ${y} is no float32`);
        const error = nearError(oracle, x, y);
        if (!(error <= 2)) expect.fail(`${name}(${x}) = ${y} is ${error} ulp from the truth`);
      }
  });

  it.each(ends[name])('of %d is %d', (x, y) => {
    expect(ours(x)).toBe(y);
  });

  it('is what the committed table was made from, at most 2 ulp from the truth', () => {
    const table = readFileSync(new URL('../../docs/numerics.md', import.meta.url), 'utf8');
    const [measured, print] = table.split('\n').filter(line => line.startsWith(`| ${name} |`));
    const worst = Number(measured.split('|')[4]);
    expect(worst).toBeGreaterThanOrEqual(0.5);
    expect(worst).toBeLessThanOrEqual(2);
    expect(print).toBe(`| ${name} | \`${fingerprint(ours)}\` |`);
  });
});

/** How far a result may be below that of a smaller argument, in ulps: the last bit of a polynomial may flicker. */
const FALL = { exp: 0, log1p: 0, exp2: 1, softplus: 1 } as const;

describe.each(['exp', 'log1p', 'exp2', 'softplus'] as const)('%s', name => {
  it(`falls by at most ${FALL[name]} ulp where its argument rises`, () => {
    const ours = implemented[name];
    const rises = (points: Iterable<number>) => {
      let [before, last] = [inf, 0];
      for (const x of points) {
        const y = ours(x);
        if (x >= before && last - y > FALL[name] * ulp(y))
          expect.fail(`${name}(${x}) = ${y} is below ${name}(${before}) = ${last}`);
        [before, last] = [x, y];
      }
    };
    rises(evenly(functions[name], 150_000));
    rises(aroundBorders(functions[name], 300));
    rises(neighbours(500));
  });
});

it('exp2 of what is not positive is at most 1', () => {
  for (let i = 0; i < 100_000; i++) if (exp2(nextFloat(-0, -i)) > 1) expect.fail(`at ${nextFloat(-0, -i)}`);
  for (const x of everyExponent(400)) if (x <= 0 && exp2(x) > 1) expect.fail(`at ${x}`);
  for (const x of evenly(functions.exp2, 100_000)) if (x <= 0 && exp2(x) > 1) expect.fail(`at ${x}`);
});

describe('rounding', () => {
  /** The nearest integer of every candidate in turn; of two equally near the even one. */
  const nearest = (x: number) => {
    let best = -128;
    for (let q = -128; q <= 127; q++) {
      const [now, before] = [Math.abs(x - q), Math.abs(x - best)];
      if (now < before || (now === before && q % 2 === 0)) best = q;
    }
    return best;
  };
  const steps = fc.oneof(
    fc.float({ min: -140, max: 140, noNaN: true }),
    fc.integer({ min: -262, max: 262 }).map(i => i / 2),
    fc
      .integer({ min: -140, max: 140 })
      .chain(i => fc.constantFrom(-2, -1, 1, 2).map(n => nextFloat(i + 0.5, n))),
    fc.constantFrom(0, -0, 0.49999997, -0.49999997, 130.4, -129, 1e30, -1e30, inf, -inf, DENORMAL),
  );

  it('goes to the nearest integer, ties to even, and saturates', () => {
    fc.assert(
      fc.property(steps, x => {
        const q = quantizeValue(x, 1);
        expect(q + 0).toBe(nearest(Math.min(Math.max(x, -200), 200)));
      }),
      { numRuns: 2000 },
    );
  });

  it('tells half-even from half-away and from Math.round', () => {
    expect([2.5, -2.5, 3.5, -3.5, 0.5, -0.5, 63.5].map(x => quantizeValue(x, 1) + 0)).toEqual([
      2, -2, 4, -4, 0, 0, 64,
    ]);
  });

  const scale = fc.float({ min: Math.fround(1e-6), max: Math.fround(1e6), noNaN: true });
  const value = fc.float({ min: -200, max: 200, noNaN: true });

  it('comes back within half a step inside the range, at the end of the range outside', () => {
    fc.assert(
      fc.property(scale, value, (s, v) => {
        const x = Math.fround(v * s);
        const { q } = quantize({ x: Float32Array.of(x), scale: Float32Array.of(s) });
        const [back] = dequantize({ q: q.data, scale: Float32Array.of(s) }).x.data;
        const slack = s * 127 * 2 ** -23; // the f32 roundings of the division and of the product
        if (x > 127 * s + slack) expect(q.data[0]).toBe(127);
        else if (x < -128 * s - slack) expect(q.data[0]).toBe(-128);
        else expect(Math.abs(x - back)).toBeLessThanOrEqual(s / 2 + slack);
      }),
      { numRuns: 2000 },
    );
  });

  it('is odd, but for −128', () => {
    fc.assert(
      fc.property(scale, value, (s, v) => {
        const x = Math.fround(v * s);
        expect(-quantizeValue(-x, s) + 0).toBe(Math.max(quantizeValue(x, s), -quantizeValue(-x, s)) + 0);
        if (Math.abs(x / s) < 127.4) expect(quantizeValue(-x, s) + 0).toBe(-quantizeValue(x, s) + 0);
      }),
      { numRuns: 2000 },
    );
  });

  it('gives −0 steps as 0', () => {
    const { q } = quantize({ x: Float32Array.of(-0.2, -0), scale: Float32Array.of(1) });
    expect([...q.data]).toEqual([0, 0]);
  });

  it('divides: a product with the reciprocal gives another integer', () => {
    const next = random(3);
    let differ = 0;
    for (let i = 0; i < 20_000; i++) {
      const s = Math.fround(0.001 + next());
      const x = Math.fround((Math.floor(next() * 200) - 100 + 0.5) * s);
      const expected = nearest(Math.fround(x / s));
      expect(quantizeValue(x, s) + 0).toBe(expected + 0);
      if (nearest(Math.fround(x * Math.fround(1 / s))) !== expected) differ++;
    }
    expect(differ).toBeGreaterThan(100);
  });
});
