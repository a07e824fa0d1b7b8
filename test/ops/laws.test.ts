/** Laws of the ops: what must hold whatever the values are. Each is checked against a definition, not against a copy. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { factor } from '../../src/ops/hadamard.ts';
import { ops } from '../../src/ops/index.ts';
import { quantileOfAbs, rangeOver } from '../../src/quant/ranges.ts';
import { smoothingFactors, transformOf } from '../../src/quant/transforms.ts';
import { quantizeWeight } from '../../src/quant/weights.ts';
import { type Tensor, tensor } from '../../src/tensor.ts';
import { noise, random, sameBits } from '../toy.ts';

const f = Math.fround;

const next = random(5);
const matrix = (rows: number, columns: number, spread = 1) =>
  tensor(noise(rows * columns, next, spread), [rows, columns]);
const ints = (rows: number, columns: number) =>
  tensor(
    Int8Array.from({ length: rows * columns }, () => Math.floor(next() * 256) - 128),
    [rows, columns],
  );
const norm = (values: Iterable<number>) => Math.sqrt([...values].reduce((sum, x) => sum + x * x, 0));
const far = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  norm(Array.from(a, (x, i) => x - b[i])) / norm(Array.from(b));

describe('Hadamard', () => {
  const sizes = [
    1, 2, 4, 32, 12, 24, 96, 20, 40, 80, 160, 28, 56, 224, 36, 72, 288, 44, 52, 104, 60, 100, 108,
  ];

  /** Q · √n from its definition, entry by entry: (M_K ⊗ H_2^k)[i][j], where M_40 = [[M_20, M_20], [M_20, −M_20]]. */
  const entry = (n: number, i: number, j: number): number => {
    const { base, outer } = factor(n)!;
    const K = outer * base.length;
    const order = base.length;
    const run = n / K;
    const parity = (bits: number): number => (bits === 0 ? 0 : (bits & 1) ^ parity(bits >> 1));
    const walsh = parity((i % run) & (j % run)); // H[i][j] = (−1)^popcount(i & j)
    const [row, column] = [Math.floor(i / run), Math.floor(j / run)];
    const corner = K === 40 && row >= order && column >= order ? 1 : 0;
    return (walsh ^ corner ? -1 : 1) * base[row % order][column % order];
  };

  it.each(sizes)('of size %d is (M_K ⊗ H)/√n, and its inverse is its transpose', n => {
    const x = noise(n, next);
    for (const inverse of [false, true]) {
      const { y } = ops.fwht({ x }, { inverse });
      const defined = Array.from({ length: n }, (_, i) =>
        x.reduce((sum, value, j) => sum + value * (inverse ? entry(n, j, i) : entry(n, i, j)), 0),
      );
      expect(
        far(
          y.data,
          defined.map(value => value / Math.sqrt(n)),
        ),
      ).toBeLessThan(1e-6);
    }
  });

  it.each(sizes)('of size %d is orthonormal', n => {
    for (let i = 0; i < n; i++)
      for (let j = 0; j <= i; j++) {
        let dot = 0;
        for (let k = 0; k < n; k++) dot += entry(n, i, k) * entry(n, j, k);
        if (dot !== (i === j ? n : 0)) expect.fail(`rows ${i} and ${j}: ${dot}`);
      }
  });

  it.each([...sizes, 768, 1152, 1536, 1664, 1920, 2048, 3584, 5120])(
    'of size %d comes back, keeps the norm, spreads an impulse',
    n => {
      const x = matrix(2, n);
      const { y } = ops.fwht({ x });
      expect(far(ops.fwht({ x: y }, { inverse: true }).y.data, x.data)).toBeLessThan(1e-6);
      expect(far(ops.fwht({ x: ops.fwht({ x }, { inverse: true }).y }).y.data, x.data)).toBeLessThan(1e-6);
      expect(Math.abs(norm(y.data) / norm(x.data) - 1)).toBeLessThan(1e-6);
      const impulse = new Float32Array(n);
      impulse[n >> 1] = 1;
      const even = f(1 / Math.sqrt(n));
      expect(ops.fwht({ x: impulse }).y.data.every(value => Math.abs(value) === even)).toBe(true);
    },
  );

  it('is its own inverse where M is of Paley II', () => {
    for (const n of sizes) {
      const { base } = factor(n)!;
      const symmetric = base.every((row, i) => row.every((value, j) => value === base[j][i]));
      expect(symmetric, `M of ${n}`).toBe(![20, 44].includes(base.length));
      const x = noise(n, next);
      const forward = ops.fwht({ x }).y.data;
      const backward = ops.fwht({ x }, { inverse: true }).y.data;
      expect(sameBits(forward, backward), `fwht of ${n}`).toBe(symmetric);
    }
  });

  it('of [1, 2, 3, 4] is [5, −1, −2, 0]', () => {
    expect([...ops.fwht({ x: Float32Array.of(1, 2, 3, 4) }).y.data]).toEqual([5, -1, -2, 0]);
  });

  it('has base matrices of Paley: first rows, diagonals and sizes as published', () => {
    const bases = [12, 20, 28].map(n => factor(n)!.base);
    expect(bases.map(base => base.length)).toEqual([12, 20, 28]);
    expect(bases[1][0]).toEqual([1, ...Array(19).fill(-1)]);
    expect(bases[1].every((row, i) => row[i] === 1)).toBe(true); // skew: M_20 − I is antisymmetric
    expect(bases[1].every((row, i) => row.every((value, j) => i === j || value === -bases[1][j][i]))).toBe(
      true,
    );
    expect(bases.map(base => base.every(row => row.length === base.length))).toEqual([true, true, true]);
  });

  it('has the smallest K for every size that Paley gives one, and M_K M_Kᵀ = K I for each', () => {
    const orders = new Set<number>();
    for (let n = 1; n <= 1100; n++) {
      const found = factor(n);
      if (found) orders.add(found.base.length);
      if (found) expect(found.outer * found.base.length * found.run).toBe(n);
    }
    const wanted = Array.from({ length: 256 }, (_, i) => 4 * (i + 1)).filter(K => K % 8 && K <= 268);
    // 92, 116, 156, 172, 188, 236, 260 and 268 are Hadamard matrices of other makers; those of 23, 29 and 39 are larger here
    const without = [4, 92, 116, 156, 172, 188, 236, 260, 268];
    expect([...orders].filter(K => K % 8 && K <= 268).sort((a, b) => a - b)).toEqual(
      [1, ...wanted.filter(K => !without.includes(K))].sort((a, b) => a - b),
    );
    for (const [n, K] of [[1152, 36], [2944, 368], [3712, 464], [1248, 312], [1504, 752]]) // biome-ignore format: a table
      expect(factor(n)!.base.length).toBe(K);
    for (const n of [3, 6, 18, 46, 92, 172, 344, 688, 1376, 2752, 1.5, 0])
      expect(factor(n), `${n}`).toBeUndefined();
    for (const K of orders) {
      const rows = factor(K)!.base;
      for (const [i, row] of rows.entries()) {
        expect(row).toHaveLength(K);
        for (let j = K > 400 ? Math.max(0, i - 3) : 0; j <= i; j++) {
          let dot = 0;
          for (let k = 0; k < K; k++) dot += row[k] * rows[j][k];
          if (dot !== (i === j ? K : 0)) expect.fail(`M_${K}: rows ${i} and ${j}: ${dot}`);
        }
      }
    }
  });
});

describe('a transform folds into the weight that reads it', () => {
  const sizes = [24, 48, 1536, 20, 40, 160, 2048, 3072, 4096, 5120];

  it.each(sizes)('hadamard at %d: (W Qᵀ)(Q y) = W y', n => {
    const [x, w] = [matrix(2, n), matrix(8, n)];
    const t = transformOf('hadamard')!;
    const plain = ops.linear({ x, w }).y.data;
    const folded = ops.linear({ x: ops.fwht({ x }).y, w: t.fold(w, undefined) }).y.data;
    expect(far(folded, plain)).toBeLessThan(1e-5);
    const wrong = ops.linear({ x: ops.fwht({ x }).y, w: ops.fwht({ x: w }, { inverse: true }).y }).y.data;
    if (factor(n)!.base.length === 20) expect(far(wrong, plain)).toBeGreaterThan(0.1);
  });

  it.each(sizes)('smooth at %d: (W c)(y / c) = W y', n => {
    const [x, w] = [matrix(2, n, 3), matrix(8, n)];
    for (let i = 0; i < x.data.length; i += 17) x.data[i] *= 100;
    const channels = Float32Array.from({ length: n }, (_, j) =>
      Math.max(Math.abs(x.data[j]), Math.abs(x.data[n + j])),
    );
    const c = smoothingFactors(channels, [w], 0.5);
    const t = transformOf({ smooth: 0.5 })!;
    const smoothed = ops.scaleChannels({ x, c }, { inverse: true }).y;
    expect(
      far(ops.linear({ x: smoothed, w: t.fold(w, c) }).y.data, ops.linear({ x, w }).y.data),
    ).toBeLessThan(1e-5);
  });

  it('smooth gives activations and weights the same range at α = ½, and leaves one of them at 0 and 1', () => {
    const [x, w] = [Float32Array.of(64, 1, 0.25), tensor(Float32Array.of(1, -4, 2, -0.25, 1, 1), [2, 3])];
    const columns = [1, 4, 2];
    const factors = (alpha: number) => smoothingFactors(x, [w], alpha).data;
    factors(0.5).forEach((s, j) => {
      expect(x[j] / s).toBeCloseTo(columns[j] * s, 4);
    });
    factors(1).forEach((s, j) => {
      expect(x[j] / s).toBeCloseTo(1, 5);
    });
    factors(0).forEach((s, j) => {
      expect(columns[j] * s).toBeCloseTo(1, 5);
    });
    expect(factors(0.75)[0]).toBeCloseTo(64 ** 0.75, 4);
  });
});

/** Cuts of a text of `length` tokens: the lengths of its pieces. */
const cuts = (length: number) =>
  fc
    .uniqueArray(fc.integer({ min: 1, max: length - 1 }), { maxLength: length - 1 })
    .map(at => [0, ...at.sort((a, b) => a - b), length])
    .map(at => at.slice(1).map((end, i) => [at[i], end] as const));

const rows = (x: Tensor<'f32'>, begin: number, end: number) =>
  tensor(x.data.slice(begin * x.shape[1], end * x.shape[1]), [end - begin, x.shape[1]]);

describe('causal-conv1d', () => {
  const l = 11;
  const [x, w, b] = [matrix(l, 5), matrix(5, 4), noise(5, next)];

  it('in any cut gives the bits of the whole', () => {
    const whole = ops.causalConv1d({ x, w, b });
    fc.assert(
      fc.property(cuts(l), pieces => {
        let past: Tensor<'f32'> | undefined;
        for (const [begin, end] of pieces) {
          const part = ops.causalConv1d({ x: rows(x, begin, end), w, b, past });
          expect(sameBits(part.y.data, rows(whole.y, begin, end).data)).toBe(true);
          past = part.past;
        }
        expect(sameBits(past!.data, whole.past.data)).toBe(true);
      }),
    );
  });

  it('answers an impulse with its taps, last first', () => {
    const impulse = tensor(Float32Array.of(1, 0, 0, 0, 0), [5, 1]);
    const taps = Float32Array.of(10, 20, 30, 40);
    const { y } = ops.causalConv1d({ x: impulse, w: tensor(taps, [1, 4]) }, { activation: 'none' });
    expect([...y.data]).toEqual([40, 30, 20, 10, 0]);
  });

  it('keeps the last inputs, oldest first, after zeros', () => {
    const two = tensor(Float32Array.of(1, 2), [2, 1]);
    expect([...ops.causalConv1d({ x: two, w: matrix(1, 4) }).past.data]).toEqual([0, 1, 2]);
  });

  it('sees nothing of the future', () => {
    const changed = tensor(x.data.slice(), x.shape);
    changed.data.fill(9, 6 * 5);
    const [a, c] = [x, changed].map(input => ops.causalConv1d({ x: input, w, b }).y);
    expect(sameBits(rows(a, 0, 6).data, rows(c, 0, 6).data)).toBe(true);
    expect(sameBits(a.data, c.data)).toBe(false);
  });
});

describe('selective-scan', () => {
  const [l, d, n] = [9, 5, 6];
  const dt = ops.softplus({ x: matrix(l, d) }).y;
  const A = ops.negExp({ x: matrix(d, n, 0.5) }).y;
  const all = {
    u: matrix(l, d),
    dt,
    A,
    B: matrix(l, n),
    C: matrix(l, n),
    D: noise(d, next),
    z: matrix(l, d),
  };

  it('in any cut gives the bits of the whole', () => {
    const whole = ops.selectiveScan(all);
    fc.assert(
      fc.property(cuts(l), pieces => {
        let h: Tensor<'f32'> | undefined;
        for (const [begin, end] of pieces) {
          const [u, step, B, C, z] = [all.u, dt, all.B, all.C, all.z].map(t => rows(t, begin, end));
          const part = ops.selectiveScan({ u, dt: step, A, B, C, D: all.D, z, h });
          expect(sameBits(part.y.data, rows(whole.y, begin, end).data)).toBe(true);
          h = part.h;
        }
        expect(sameBits(h!.data, whole.h.data)).toBe(true);
      }),
    );
  });

  it('is the recurrence, in float64', () => {
    const { y, h: state } = ops.selectiveScan(all);
    const h = new Float64Array(d * n);
    const expected = new Float64Array(l * d);
    for (let t = 0; t < l; t++)
      for (let c = 0; c < d; c++) {
        const [step, u, z] = [dt.data[t * d + c], all.u.data[t * d + c], all.z.data[t * d + c]];
        let sum = all.D[c] * u;
        for (let s = 0; s < n; s++) {
          h[c * n + s] = Math.exp(step * A.data[c * n + s]) * h[c * n + s] + step * all.B.data[t * n + s] * u;
          sum += all.C.data[t * n + s] * h[c * n + s];
        }
        expected[t * d + c] = (sum * z) / (1 + Math.exp(-z));
      }
    expect(far(y.data, expected)).toBeLessThan(1e-6);
    expect(far(state.data, h)).toBeLessThan(1e-6);
  });

  it('of ones, with dt = ln 2, halves the way to 2 ln 2 at every step', () => {
    const steps = 24;
    const of = (value: number, ...shape: number[]) =>
      tensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(value), shape);
    const ones = of(1, steps, 1);
    const { y } = ops.selectiveScan({
      u: ones,
      dt: of(Math.LN2, steps, 1),
      A: of(-1, 1, 1),
      B: ones,
      C: ones,
    });
    y.data.forEach((value, t) => {
      expect(value).toBeCloseTo(2 * Math.LN2 * (1 - 0.5 ** (t + 1)), 5);
    });
  });

  it('with dt = 0 leaves the state as it is', () => {
    const before = matrix(d, n);
    const still = tensor(new Float32Array(l * d), [l, d]);
    expect(sameBits(ops.selectiveScan({ ...all, dt: still, h: before }).h.data, before.data)).toBe(true);
  });

  it('adds the skip D·u, then the gate', () => {
    const one = (value: number) => tensor(Float32Array.of(value), [1, 1]);
    const base = { u: one(3), dt: one(0), A: one(-1), B: one(1), C: one(1) };
    expect(ops.selectiveScan({ ...base, D: Float32Array.of(2) }).y.data[0]).toBe(6);
    const gated = ops.selectiveScan({ ...base, D: Float32Array.of(2), z: one(30) });
    expect(gated.y.data[0]).toBe(180); // silu(30) is 30
  });
});

describe('linear-i8', () => {
  const [l, i, o] = [3, 24, 5];
  const [x, w, b] = [ints(l, i), ints(o, i), noise(o, next)];
  const scales = (p: number, g: number, value = 0.003) => tensor(new Float32Array(p * g).fill(value), [p, g]);
  const xscale = Float32Array.of(0.1);

  it('with equal scales is the same per tensor and per row, per tensor and per token', () => {
    const { data } = ops.linearI8({ x, w, b, xscale, wscale: scales(1, 1) }).y;
    const same = [
      ops.linearI8({ x, w, b, xscale, wscale: scales(o, 1) }),
      ops.linearI8({ x, w, b, xscale: new Float32Array(l).fill(0.1), wscale: scales(o, 1) }),
    ];
    for (const { y } of same) expect(sameBits(y.data, data)).toBe(true);
    expect(far(ops.linearI8({ x, w, b, xscale, wscale: scales(o, 4) }).y.data, data)).toBeLessThan(1e-6);
  });

  it('is (Σ x w) · s by whole numbers, at the longest row too', () => {
    const long = 131071;
    const extreme = (value: number) => tensor(new Int8Array(long).fill(value), [1, long]);
    const positive = (rows: number) =>
      tensor(
        ints(rows, 20_000).data.map(q => (q & 127) | 64),
        [rows, 20_000],
      );
    /* biome-ignore format: a table; the last sums are above 2²⁴, so that int32 → f32 rounds */
    const cases = [
      [x, w],
      [ints(2, 5120), ints(3, 5120)],
      [extreme(-128), extreme(-128)],
      [extreme(-128), extreme(127)],
      [positive(4), positive(4)],
    ];
    for (const [a, m] of cases) {
      const { y } = ops.linearI8({ x: a, w: m, xscale, wscale: scales(1, 1) });
      const [size, outputs] = [a.shape[1], m.shape[0]];
      y.data.forEach((value, at) => {
        const [t, row] = [Math.floor(at / outputs), at % outputs];
        let acc = 0n;
        for (let k = 0; k < size; k++) acc += BigInt(a.data[t * size + k]) * BigInt(m.data[row * size + k]);
        expect(value).toBe(f(f(Number(acc)) * f(f(0.1) * f(0.003))));
      });
    }
  });

  it('adds groups in order, each with its own scale, and then the bias', () => {
    const g = 3;
    const wscale = tensor(noise(o * g, next).map(Math.abs), [o, g]);
    const tokens = Float32Array.of(0.1, 0.7, 1.3);
    const { y } = ops.linearI8({ x, w, b, xscale: tokens, wscale });
    for (let t = 0; t < l; t++)
      for (let row = 0; row < o; row++) {
        const parts = Array.from({ length: g }, (_, group) => {
          let acc = 0;
          for (let k = (group * i) / g; k < ((group + 1) * i) / g; k++)
            acc += x.data[t * i + k] * w.data[row * i + k];
          return f(f(acc) * f(tokens[t] * wscale.data[row * g + group]));
        });
        expect(y.data[t * o + row]).toBe(f(f(f(parts[0] + parts[1]) + parts[2]) + b[row]));
      }
  });

  it('multiplies the scales first: the order shows in the last bit', () => {
    const [s, m] = [f(0.1), f(0.003)];
    const first = (acc: number) => f(f(acc) * f(s * m));
    const last = (acc: number) => f(s * f(m * f(acc)));
    const accs = Array.from({ length: 600 }, (_, j) => 123456 + j);
    expect(accs.some(acc => first(acc) !== last(acc))).toBe(true);
    for (const acc of accs.slice(0, 100)) {
      const digits = Int8Array.from({ length: 1024 }, (_, k) => Math.floor((acc + k) / 1024)); // they add up to acc
      const inputs = {
        x: digits,
        w: tensor(new Int8Array(1024).fill(1), [1, 1024]),
        xscale: Float32Array.of(s),
      };
      expect(ops.linearI8({ ...inputs, wscale: tensor(Float32Array.of(m), [1, 1]) }).y.data[0]).toBe(
        first(acc),
      );
    }
  });

  it('is the float linear of what the integers stand for', () => {
    for (const per of ['tensor', 'row', { group: 8 }] as const) {
      const { q, scale } = quantizeWeight(matrix(o, i), { bits: 8, per });
      const step = (row: number, k: number) =>
        scale.data[scale.data.length === 1 ? 0 : Math.floor((row * i + k) / ((o * i) / scale.data.length))];
      const real = tensor(
        Float32Array.from(q.data, (v, at) => v * step(Math.floor(at / i), at % i)),
        [o, i],
      );
      const inputs = ops.dequantize({ q: x, scale: xscale }).x;
      const { y } = ops.linearI8({ x, w: q, xscale, wscale: scale });
      expect(far(y.data, ops.linear({ x: inputs, w: real }).y.data)).toBeLessThan(1e-5);
    }
  });
});

describe('the integers of a weight', () => {
  it.each(['tensor', 'row', { group: 4 }] as const)(
    'per %j reach ±127 in every part and err by half a step',
    per => {
      const w = matrix(6, 12);
      const { q, scale } = quantizeWeight(w, { bits: 8, per });
      const part = w.data.length / scale.data.length;
      scale.data.forEach((step, p) => {
        const of = <T>(data: Iterable<T>) => [...data].slice(p * part, (p + 1) * part);
        expect(Math.max(...of(q.data).map(Math.abs))).toBe(127);
        of(w.data).forEach((value, j) => {
          expect(Math.abs(value - step * of(q.data)[j])).toBeLessThanOrEqual(step * 0.50001);
        });
      });
    },
  );

  it('refuses groups that do not divide the columns', () => {
    expect(() => quantizeWeight(matrix(2, 12), { bits: 8, per: { group: 5 } })).toThrow(
      new RangeError('quantize: groups of 5 do not divide 12 columns'),
    );
  });
});

describe('the small cases that freeze conventions', () => {
  it('quantize: −1, −½, 0, ½, 1 in steps of 1/127', () => {
    const { q } = ops.quantize({ x: Float32Array.of(-1, -0.5, 0, 0.5, 1), scale: Float32Array.of(1 / 127) });
    expect([...q.data]).toEqual([-127, -64, 0, 64, 127]);
  });

  it('quantize saturates: 130.4 is 127, −129 is −128', () => {
    const { q } = ops.quantize({ x: Float32Array.of(130.4, -129), scale: Float32Array.of(1) });
    expect([...q.data]).toEqual([127, -128]);
  });

  it('absmax-scale has a floor, so that a row of zeros divides by something', () => {
    const { scale } = ops.absmaxScale({ x: tensor(Float32Array.of(0, 0, 3, -254), [2, 2]) });
    expect([...scale.data]).toEqual([f(f(1e-5) / 127), 2]);
  });

  it('quantile: 0 … 9 at 0.95 is 8.55; signs do not count', () => {
    const x = Float32Array.of(3, -1, 0, 9, -7, 5, 2, -8, 4, -6);
    expect(quantileOfAbs(x, 0.95)).toBeCloseTo(8.55, 5);
    expect([0, 1].map(p => quantileOfAbs(x, p))).toEqual([0, 9]);
  });

  it('quantile is that of a sorted array', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 40 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, p) => {
          const sorted = values.map(Math.abs).sort((a, b) => a - b);
          const position = f(f(p) * (values.length - 1));
          const [low, high] = [Math.floor(position), Math.ceil(position)].map(rank => sorted[rank]);
          const expected = low + (high - low) * (position - Math.floor(position));
          const got = quantileOfAbs(Float32Array.from(values), p);
          expect(Math.abs(got - expected)).toBeLessThanOrEqual(Math.max(high * 2 ** -22, 2 ** -148));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('the average over samples: 10, then 20, is 10.1; its order matters', () => {
    const average = (...samples: number[]) => {
      const range = rangeOver({ percentile: 1, ema: 0.01 });
      for (const sample of samples) range.add(tensor(Float32Array.of(sample, 1)));
      return range.value();
    };
    expect(average(10, 20)).toBe(f(10.1));
    expect(average(20, 10)).toBe(f(19.9));
    expect(average(10)).toBe(10);
  });

  it('absmax keeps the largest of all samples', () => {
    const range = rangeOver('absmax');
    for (const sample of [
      [1, -3],
      [2, 0],
    ])
      range.add(tensor(Float32Array.from(sample)));
    expect(range.value()).toBe(3);
  });

  it('softplus: −20 is 2.0611536e-9, 25 is 25', () => {
    expect([...ops.softplus({ x: Float32Array.of(-20, 25) }).y.data]).toEqual([f(2.0611536e-9), 25]);
  });

  it('rms-norm of equal values is their sign, times the weight', () => {
    const x = new Float32Array(40).fill(-3);
    const { y } = ops.rmsNorm({ x, w: new Float32Array(40).fill(2) }, { eps: 1e-30 });
    for (const value of y.data) expect(value).toBeCloseTo(-2, 6);
    expect([...ops.rmsNorm({ x: new Float32Array(4) }).y.data]).toEqual([0, 0, 0, 0]);
  });
});
