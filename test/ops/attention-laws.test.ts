/** Laws of attention and of RoPE: what must hold whatever the values are, and however a text is cut. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rotary } from '../../src/conformance/rotary.ts';
import { ops } from '../../src/ops/index.ts';
import { ropeFrequencies } from '../../src/ops/rope-table.ts';
import { interpret } from '../../src/run.ts';
import type { StateType } from '../../src/state.ts';
import { type Tensor, tensor } from '../../src/tensor.ts';
import { noise, random, sameBits } from '../toy.ts';

const f = Math.fround;
const U = 2 ** -24;
const BLOCK = 128;

interface Text {
  readonly h: number;
  readonly g: number;
  readonly p: number;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}
/** Queries, keys and values of some tokens. */
function textOf(seed: number, length: number, { h, g, p }: Pick<Text, 'h' | 'g' | 'p'>): Text {
  const next = random(seed);
  const rows = (heads: number) => noise(length * heads * p, next);
  return { h, g, p, q: rows(h), k: rows(g), v: rows(g) };
}
type Kept = StateType['dtype'];
interface Past {
  readonly K: Tensor<'f32'>;
  readonly V: Tensor<'f32'>;
}
/** Attention over the tokens from `begin` to `end`, which go on from a past. */
function attend(text: Text, begin: number, end: number, dtype: Kept = 'f32', past?: Past) {
  const { h, g, p } = text;
  const rows = (data: Float32Array, width: number) =>
    tensor(data.slice(begin * width, end * width), [end - begin, width]);
  const given = { q: rows(text.q, h * p), k: rows(text.k, g * p), v: rows(text.v, g * p) };
  return ops.attention({ ...given, ...past }, { h, g, scale: 0.3 }, { K: { dtype }, V: { dtype } });
}
const heads = fc.constantFrom({ h: 1, g: 1, p: 4 }, { h: 4, g: 2, p: 4 }, { h: 2, g: 2, p: 8 });
const seed = fc.nat(1000);
/** Where a text of 260 tokens is cut: next to the ends of blocks, and anywhere. */
const cuts = fc
  .uniqueArray(
    fc.oneof(fc.integer({ min: 125, max: 131 }), fc.integer({ min: 254, max: 258 }), fc.nat(259)),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map(list => [...new Set([0, ...list, 260])].sort((a, b) => a - b));
const RUNS = { numRuns: 8 };

describe('attention', () => {
  it.each(['f32', 'f16', 'i8-dynamic'] as const)(
    'gives the same in any cut, its keys and values in %s',
    dtype =>
      fc.assert(
        fc.property(seed, heads, cuts, (of, sizes, at) => {
          const text = textOf(of, 260, sizes);
          const whole = attend(text, 0, 260, dtype);
          let past: Past | undefined;
          for (const [i, begin] of at.slice(0, -1).entries()) {
            const part = attend(text, begin, at[i + 1], dtype, past);
            const width = sizes.h * sizes.p;
            expect(sameBits(part.y.data, whole.y.data.slice(begin * width, at[i + 1] * width))).toBe(true);
            past = { K: part.K, V: part.V };
          }
          expect(sameBits(past!.K.data, whole.K.data)).toBe(true);
          expect(sameBits(past!.V.data, whole.V.data)).toBe(true);
        }),
        RUNS,
      ),
  );

  it('has heads that can change places, keys and values together with their queries', () =>
    fc.assert(
      fc.property(seed, fc.shuffledSubarray([0, 1, 2], { minLength: 3 }), (of, order) => {
        const [h, g, p, l] = [6, 3, 4, 5];
        const text = textOf(of, l, { h, g, p });
        const moved = (data: Float32Array, perGroup: number) => {
          const run = perGroup * p;
          return data.map(
            (_, i) => data[i - (i % (g * run)) + order[Math.floor(i / run) % g] * run + (i % run)],
          );
        };
        const { y } = attend(text, 0, l);
        const other = { ...text, q: moved(text.q, h / g), k: moved(text.k, 1), v: moved(text.v, 1) };
        expect(sameBits(attend(other, 0, l).y.data, moved(y.data, h / g))).toBe(true);
      }),
    ));

  it('of one key is its value', () =>
    fc.assert(
      fc.property(seed, heads, (of, sizes) => {
        const text = textOf(of, 1, sizes);
        const { h, g, p } = sizes;
        const expected = Array.from(
          { length: h * p },
          (_, i) => text.v[Math.floor((Math.floor(i / p) * g) / h) * p + (i % p)],
        );
        expect([...attend(text, 0, 1).y.data]).toEqual(expected);
      }),
    ));

  it('of equal scores is the mean, added in blocks of 128', () =>
    fc.assert(
      fc.property(seed, fc.integer({ min: 120, max: 270 }), (of, length) => {
        const text = textOf(of, length, { h: 1, g: 1, p: 4 });
        const { y } = attend({ ...text, q: text.q.fill(0) }, 0, length);
        for (let c = 0; c < 4; c++) {
          let sum = 0;
          for (let begin = 0; begin < length; begin += BLOCK) {
            let part = 0;
            for (let s = begin; s < Math.min(begin + BLOCK, length); s++) part = f(part + text.v[s * 4 + c]);
            sum = f(sum + part);
          }
          expect(y.data[(length - 1) * 4 + c]).toBe(f(sum / length));
        }
      }),
      RUNS,
    ));

  it('lies between the least and the largest value that a token sees', () =>
    fc.assert(
      fc.property(seed, fc.integer({ min: 1, max: 40 }), (of, length) => {
        const text = textOf(of, length, { h: 1, g: 1, p: 4 });
        const { y } = attend(text, 0, length);
        for (const [i, value] of y.data.entries()) {
          const seen = text.v.filter((_, j) => j <= i && j % 4 === i % 4);
          const slack = 3 * (length + 2) * U * Math.max(...seen.map(Math.abs));
          expect(value).toBeGreaterThanOrEqual(Math.min(...seen) - slack);
          expect(value).toBeLessThanOrEqual(Math.max(...seen) + slack);
        }
      }),
    ));

  it('refuses to keep what grows in int8 with steps that are known before', () => {
    const text = textOf(1, 1, { h: 1, g: 1, p: 4 });
    const given = { q: text.q, k: text.k, v: text.v };
    const scale = Float32Array.of(1);
    expect(() => ops.attention(given, {}, { K: { dtype: 'i8', scale } })).toThrow(
      new TypeError('attention: state K expected f32, f16 or i8-dynamic for a state that grows; got i8'),
    );
    expect(() => interpret(rotary(2, 'i8'))).toThrow(
      new TypeError(
        'program.states["K"].type expected f32, f16 or i8-dynamic for a state that grows; got "i8"',
      ),
    );
  });
});

/** The tables of some tokens from a position on. */
function tablesOf(freq: Float32Array, position: number, length: number) {
  const given = { tokens: new Int32Array(length), freq, fed: Float32Array.of(position) };
  const [cos, sin] = [false, true].map(sine => ops.ropeTable(given, { sine }));
  return { cos: cos.y, sin: sin.y, fed: cos.fed };
}
const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
const thetas = fc.constantFrom(1e4, 5e5, 1e11);

describe('rope', () => {
  it('has the same table in any cut', () =>
    fc.assert(
      fc.property(thetas, fc.nat(2 ** 18), fc.integer({ min: 1, max: 39 }), (theta, position, cut) => {
        const freq = ropeFrequencies(theta, 4);
        const whole = tablesOf(freq, position, 40);
        const begin = tablesOf(freq, position, cut);
        const end = tablesOf(freq, begin.fed.data[0], 40 - cut);
        for (const key of ['cos', 'sin'] as const)
          expect(sameBits(Float32Array.of(...begin[key].data, ...end[key].data), whole[key].data)).toBe(true);
        expect(end.fed.data[0]).toBe(position + 40);
      }),
    ));

  it('keeps the length of each head', () =>
    fc.assert(
      fc.property(seed, thetas, fc.nat(2 ** 18), fc.integer({ min: 1, max: 4 }), (of, theta, position, r) => {
        const [h, p] = [3, 8];
        const x = noise(h * p, random(of));
        const { y } = ops.rope(
          { x: tensor(x, [1, h * p]), ...pick(tablesOf(ropeFrequencies(theta, r), position, 1)) },
          { h },
        );
        for (let at = 0; at < h * p; at += p) {
          const length = norm(x.subarray(at, at + p));
          // two products and a sum of each value, and a cosine and a sine that are each off by half an ulp of 1
          expect(Math.abs(norm(y.data.subarray(at, at + p)) - length)).toBeLessThanOrEqual(5 * U * length);
        }
      }),
    ));

  it('leaves of two positions their difference: q · k is the same further on', () =>
    fc.assert(
      fc.property(seed, fc.nat(500), fc.nat(500), fc.nat(500), (of, a, b, further) => {
        const [p, r] = [8, 4];
        const freq = ropeFrequencies(1e4, r);
        const next = random(of);
        const [q, k] = [noise(p, next), noise(p, next)];
        const at = (x: Float32Array, position: number) =>
          ops.rope({ x: tensor(x, [1, p]), ...pick(tablesOf(freq, position, 1)) }).y.data;
        const product = (m: number, n: number) => {
          const [x, y] = [at(q, m), at(k, n)];
          return x.reduce((sum, value, i) => sum + value * y[i], 0);
        };
        const off = Math.abs(product(a + further, b + further) - product(a, b));
        // each of the four angles is off by a rounding of at most 1,000
        expect(off).toBeLessThanOrEqual((4 * 1000 + 20) * U * norm(q) * norm(k));
      }),
    ));
});

const pick = ({ cos, sin }: ReturnType<typeof tablesOf>) => ({ cos, sin });
