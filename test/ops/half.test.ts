/** IEEE binary16: rounding to it and its bits, over all of its values; and a state that is kept in it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBytes } from '../../src/formats/bytes.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { half, halfBits, halfOf } from '../../src/ops/half.ts';
import { ops } from '../../src/ops/index.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { createSession } from '../../src/session.ts';
import { tensor } from '../../src/tensor.ts';
import { difference } from '../backends/feeds.ts';
import { noise, random, runnableOf, sameBits, toy } from '../toy.ts';

const finite = Array.from({ length: 0x7c00 }, (_, bits) => bits);

describe('half', () => {
  it('keeps every value of binary16, and its bits come back', () => {
    const wrong: number[] = [];
    for (const bits of finite)
      for (const [value, code] of [
        [halfOf(bits), bits],
        [-halfOf(bits), bits | 0x8000],
      ])
        if (!Object.is(half(value), value) || halfBits(value) !== code) wrong.push(code);
    expect(wrong).toEqual([]);
    expect(halfOf(1)).toBe(2 ** -24);
    expect(halfOf(0x3c00)).toBe(1);
    expect(halfOf(0x7bff)).toBe(65504);
  });

  it('takes the even one of two neighbours in the middle between them, and the nearer one beside it', () => {
    const wrong: number[] = [];
    for (const bits of finite.slice(0, -1)) {
      const [low, high] = [halfOf(bits), halfOf(bits + 1)];
      const middle = (low + high) / 2;
      const even = bits & 1 ? high : low;
      for (const sign of [1, -1]) {
        const rounded = [1, 1 + 2 ** -22, 1 - 2 ** -22].map(by => half(Math.fround(sign * middle * by)));
        if ([even, high, low].some((x, i) => rounded[i] !== sign * x)) wrong.push(bits);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('saturates, and passes NaN on', () => {
    for (const x of [65504, 65519, 65520, 1e9, 3.4e38, Number.POSITIVE_INFINITY]) {
      expect(half(x)).toBe(65504);
      expect(half(-x)).toBe(-65504);
    }
    expect(half(Number.NaN)).toBeNaN();
    expect(halfOf(halfBits(Number.NaN))).toBeNaN();
    expect(Object.is(half(-0), -0)).toBe(true);
    expect(half(1e-45)).toBe(0);
  });
});

describe('selective-scan with h in f16', () => {
  const [d, n] = [5, 4];
  const inputsOf = (l: number, seed: number) => {
    const next = random(seed);
    const rows = (width: number) => tensor(noise(l * width, next), [l, width]);
    return {
      u: rows(d),
      dt: tensor(
        rows(d).data.map(x => Math.abs(x) / 4),
        [l, d],
      ),
      A: tensor(
        noise(d * n, next).map(x => -Math.abs(x)),
        [d, n],
      ),
      B: rows(n),
      C: rows(n),
    };
  };

  it('is the scan whose state goes through binary16 after each token, fed in any cut', () => {
    fc.assert(
      fc.property(fc.nat(999), fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 }), (seed, cuts) => {
        const l = 12;
        const { A, ...given } = inputsOf(l, seed);
        const part = (from: number, to: number) =>
          Object.fromEntries(
            Object.entries(given).map(([key, { data, shape }]) => [
              key,
              tensor(data.slice(from * shape[1], to * shape[1]), [to - from, shape[1]]),
            ]),
          ) as unknown as typeof given;
        const whole = ops.selectiveScan({ ...given, A }, {}, { h: { dtype: 'f16' } });
        let state = tensor(new Float32Array(d * n), [d, n]);
        const ys: number[] = [];
        for (let t = 0; t < l; t++) {
          const made = ops.selectiveScan({ ...part(t, t + 1), A, h: state });
          ys.push(...made.y.data);
          state = tensor(made.h.data.map(half), [d, n]);
        }
        expect(sameBits(Float32Array.from(ys), whole.y.data)).toBe(true);
        expect(sameBits(state.data, whole.h.data)).toBe(true);

        let at = 0;
        let carried: typeof state | undefined;
        const rows: number[] = [];
        for (const size of [...cuts, l]) {
          const to = Math.min(l, at + size);
          if (to === at) break;
          const made = ops.selectiveScan({ ...part(at, to), A, h: carried }, {}, { h: { dtype: 'f16' } });
          rows.push(...made.y.data);
          carried = made.h;
          at = to;
        }
        expect(difference(Float32Array.from(rows), whole.y.data)).toBe('');
        expect(difference(carried!.data, whole.h.data)).toBe('');
      }),
      { numRuns: 30 },
    );
  });
});

describe('a plan whose states are kept in 16 bits', () => {
  const runnable = runnableOf(toy, recipes['quamba-f16-state'], 'quamba-f16-state');
  const plan = runnable.program;
  const session = () => createSession(runnable);

  it('says so of those of the scan, and of no other', () => {
    const { states } = plan.graph;
    expect(states.size).toBe(2 * toy.config.layers);
    for (const [ref, { dtype }] of states) expect(dtype).toBe(ref.endsWith('.ssmState') ? 'f16' : 'f32');
  });

  it('saves them as F16, and goes on from there with the same bits', () => {
    const whole = session().feed(toy.text);
    const first = session();
    first.feed(toy.text.subarray(0, 20));
    const saved = first.snapshot();
    const { tensors } = readSafetensors(fromBytes('state', saved));
    for (const [name, { dtype }] of tensors) expect(dtype).toBe(name.endsWith('.ssmState') ? 'F16' : 'F32');
    const second = session();
    second.restore(saved);
    const rest = second.feed(toy.text.subarray(20));
    expect(sameBits(rest.data, whole.data.subarray(20 * toy.config.vocabSize))).toBe(true);
  });
});
