/** Weights of 4 bits: how scales are found, how GPTQ rounds, and how two become a byte. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nibble, packed, packedColumns, unpacked } from '../../src/ops/nibbles.ts';
import { curvatureOf, gptq, hessianOver } from '../../src/quant/gptq.ts';
import {
  groupScale,
  groupScales,
  groupSize,
  HIGHEST,
  LOWEST,
  nearest,
  roundToNearest,
} from '../../src/quant/int4.ts';
import { quantizeWeight } from '../../src/quant/weights.ts';
import { type Tensor, tensor } from '../../src/tensor.ts';
import { random } from '../../src/text/random.ts';

const gauss = (next: () => number) => 2 * (next() + next() + next() - 1.5);
const seed = fc.integer({ min: 1, max: 2 ** 31 - 1 });

function matrix(rows: number, columns: number, next: () => number): Tensor<'f32'> {
  return tensor(
    Float32Array.from({ length: rows * columns }, () => gauss(next)),
    [rows, columns],
  );
}

/** Inputs whose columns are mixtures of a few: what GPTQ has something to gain from. */
function correlated(tokens: number, columns: number, next: () => number): Tensor<'f32'> {
  const sources = 1 + Math.floor(columns / 3);
  const mix = matrix(sources, columns, next).data;
  const data = new Float32Array(tokens * columns);
  for (let t = 0; t < tokens; t++) {
    const source = Array.from({ length: sources }, () => gauss(next));
    for (let j = 0; j < columns; j++) {
      let x = gauss(next) / 8;
      for (let s = 0; s < sources; s++) x += source[s] * mix[s * columns + j];
      data[t * columns + j] = x;
    }
  }
  return tensor(data, [tokens, columns]);
}

/** Σ x xᵀ, both triangles, plainly. */
function outer({ shape: [tokens, n], data }: Tensor<'f32'>): Float64Array {
  const h = new Float64Array(n * n);
  for (let t = 0; t < tokens; t++)
    for (let a = 0; a < n; a++) for (let b = 0; b < n; b++) h[a * n + b] += data[t * n + a] * data[t * n + b];
  return h;
}

/** Σ over rows of e H eᵀ with e = w − s q: the squared change of the product on the inputs of H. */
function productError(
  w: Tensor<'f32'>,
  scales: Float32Array,
  q: Int8Array,
  h: ArrayLike<number>,
  damping = 0,
): number {
  const [rows, n] = w.shape;
  const size = w.data.length / scales.length;
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const e = Array.from({ length: n }, (_, j) => {
      const at = row * n + j;
      return w.data[at] - scales[Math.floor(at / size)] * q[at];
    });
    for (let a = 0; a < n; a++) {
      sum += damping * e[a] * e[a];
      for (let b = 0; b < n; b++) sum += e[a] * e[b] * h[a * n + b];
    }
  }
  return sum;
}

const dampingOf = (h: ArrayLike<number>, n: number): number => {
  let trace = 0;
  for (let j = 0; j < n; j++) trace += h[j * n + j];
  return (0.01 * trace) / n;
};

describe('groups', () => {
  it('are of the largest divisor that is not above what is asked', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2000 }), (asked, columns) => {
        const size = groupSize(asked, columns);
        expect(columns % size).toBe(0);
        expect(size).toBeLessThanOrEqual(asked);
        for (let larger = size + 1; larger <= Math.min(asked, columns); larger++)
          expect(columns % larger).not.toBe(0);
      }),
    );
  });

  it('have the scales that each has alone, row by row', () => {
    fc.assert(
      fc.property(
        seed,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 9 }),
        (s, rows, groups, size) => {
          const w = matrix(rows, groups * size, random(s));
          const weigh = Float64Array.from({ length: groups * size }, (_, j) => 1 + (j % 5));
          const each = Array.from({ length: rows * groups }, (_, part) => {
            const from = (part % groups) * size;
            const values = w.data.subarray(part * size, (part + 1) * size);
            return groupScale(values, weigh.subarray(from, from + size));
          });
          expect([...groupScales(w, size, weigh)]).toEqual(each);
        },
      ),
    );
  });
});

describe('a scale', () => {
  const errorOf = (w: Float32Array, scale: number, weigh: ArrayLike<number>) =>
    w.reduce((sum, x, k) => sum + weigh[k] * (x - scale * nearest(x, scale)) ** 2, 0);

  it('errs no more than that of the largest |w|, of either sign, by the weighing that is asked for', () => {
    fc.assert(
      fc.property(seed, fc.integer({ min: 1, max: 128 }), fc.boolean(), (s, size, weighed) => {
        const next = random(s);
        const w = matrix(1, size, next).data;
        const weigh = Float64Array.from({ length: size }, () => (weighed ? next() ** 4 : 1));
        const scale = groupScale(w, weighed ? weigh : undefined);
        const most = Math.max(...w.map(Math.abs));
        for (const share of [1, 0.9, 0.8, 0.7])
          for (const sign of [1, -1]) {
            const other = Math.fround((sign * Math.fround(share) * most) / 7.5);
            expect(errorOf(w, scale, weigh)).toBeLessThanOrEqual(errorOf(w, other, weigh) * (1 + 1e-5));
          }
      }),
    );
  });

  it('is negative where the largest is positive and all the others are multiples of it: −8 reaches further', () => {
    const w = Float32Array.of(8, 7, -7, 3, -1, 5, 2, -6).map(x => x / 4);
    expect(groupScale(w)).toBeLessThan(0);
    expect(groupScale(w.map(x => -x))).toBeGreaterThan(0);
  });

  it('of zeros is above zero, and what it makes of them is zero', () => {
    const w = tensor(new Float32Array(6), [2, 3]);
    const scales = groupScales(w, 3);
    expect(Math.min(...scales)).toBeGreaterThan(0);
    expect([...roundToNearest(w, scales)]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('scales with its group by powers of two, exactly', () => {
    fc.assert(
      fc.property(
        seed,
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: -6, max: 6 }),
        (s, size, power) => {
          const w = matrix(1, size, random(s)).data;
          const scaled = w.map(x => x * 2 ** power);
          expect(groupScale(scaled)).toBe(groupScale(w) * 2 ** power);
        },
      ),
    );
  });
});

describe('the nearest step', () => {
  it('is an integer of −8 … 7, half a step away at most where it is not clipped', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -20, max: 20, noNaN: true }),
        fc.constantFrom(1, -1, 0.37, -0.37),
        (steps, scale) => {
          const w = Math.fround(steps * scale);
          const q = nearest(w, scale);
          expect(Number.isInteger(q)).toBe(true);
          expect(q).toBeGreaterThanOrEqual(LOWEST);
          expect(q).toBeLessThanOrEqual(HIGHEST);
          if (w / scale <= 7.5 && w / scale >= -8.5)
            expect(Math.abs(w / scale - q)).toBeLessThanOrEqual(0.5 + 1e-6);
        },
      ),
    );
  });

  it('goes to the even one from half-way', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, -2.5].map(w => nearest(w, 1) + 0)).toEqual([0, 2, 2, 0, -2, -2]);
  });

  it('is by the scale of the own group', () => {
    const w = tensor(Float32Array.of(1, 2, 1, 2, 1, 2, 1, 2), [2, 4]);
    expect([...roundToNearest(w, Float32Array.of(1, 0.5, -1, 0.25))]).toEqual([1, 2, 2, 4, -1, -2, 4, 7]);
  });
});

describe('GPTQ', () => {
  const sizes = fc.tuple(
    seed,
    fc.integer({ min: 1, max: 9 }), // rows: beside and beyond the four that go together
    fc.integer({ min: 1, max: 3 }), // groups
    fc.integer({ min: 2, max: 10 }), // columns of a group
  );

  it('with an identity is the nearest step, whatever the order', () => {
    fc.assert(
      fc.property(sizes, ([s, rows, groups, size]) => {
        const n = groups * size;
        const next = random(s);
        const w = matrix(rows, n, next);
        const scales = groupScales(w, size);
        const h = new Float32Array(n * n);
        for (let j = 0; j < n; j++) h[j * n + j] = 1 + Math.floor(4 * next());
        expect(gptq(w, scales, curvatureOf(h))).toEqual(roundToNearest(w, scales));
      }),
    );
  });

  it('of inputs that are all zero is the nearest step', () => {
    const w = matrix(5, 12, random(7));
    const scales = groupScales(w, 4);
    expect(gptq(w, scales, curvatureOf(new Float32Array(144)))).toEqual(roundToNearest(w, scales));
  });

  it('stays within −8 … 7', () => {
    fc.assert(
      fc.property(sizes, ([s, rows, groups, size]) => {
        const next = random(s);
        const w = matrix(rows, groups * size, next);
        const h = Float32Array.from(outer(correlated(12, groups * size, next)));
        const q = gptq(w, groupScales(w, size), curvatureOf(h));
        expect(Math.min(...q)).toBeGreaterThanOrEqual(LOWEST);
        expect(Math.max(...q)).toBeLessThanOrEqual(HIGHEST);
      }),
    );
  });

  it('changes the product on its own inputs less than the nearest steps, over many rows', () => {
    fc.assert(
      fc.property(seed, fc.integer({ min: 2, max: 4 }), (s, groups) => {
        const n = 8 * groups;
        const next = random(s);
        const w = matrix(48, n, next);
        const h = outer(correlated(4 * n, n, next));
        const scales = groupScales(w, 8);
        const damping = dampingOf(h, n);
        const by = (q: Int8Array) => productError(w, scales, q, h, damping);
        expect(by(gptq(w, scales, curvatureOf(Float32Array.from(h))))).toBeLessThan(
          0.9 * by(roundToNearest(w, scales)),
        );
      }),
      { numRuns: 30 },
    );
  });

  it('is what the definition gives, solved anew for each column', () => {
    fc.assert(
      fc.property(sizes, ([s, rows, groups, size]) => {
        const n = groups * size;
        const next = random(s);
        const w = matrix(rows, n, next);
        const h = Float32Array.from(outer(correlated(4 * n, n, next)));
        for (let a = 0; a < n; a++) h.fill(Number.NaN, a * n + a + 1, (a + 1) * n); // calibration fills the lower triangle alone
        const scales = groupScales(w, size);
        expect(gptq(w, scales, curvatureOf(h))).toEqual(byDefinition(w, scales, h));
      }),
      { numRuns: 60 },
    );
  });

  it('refuses a Hessian that no inputs have', () => {
    for (const h of [Float32Array.of(1, 0, 9, 1), Float32Array.of(1, 0, Number.NaN, 1), Float32Array.of(-1)])
      expect(() => curvatureOf(h)).toThrow(/^quantize: a Hessian is no sum of products of inputs; /);
  });

  it('needs the curvature of its inputs', () => {
    expect(() =>
      quantizeWeight(matrix(2, 8, random(3)), { bits: 4, per: { group: 4 }, rounding: 'gptq' }),
    ).toThrow(
      new Error('quantize: rounding gptq needs what calibration saw; calibrate with this recipe first'),
    );
  });
});

/**
 * Each column in turn: rounded, and what is left of the row moved to where the damped quadratic form has its minimum with
 * the rounded columns held. Solved by Gaussian elimination, without any factor of the inverse.
 */
function byDefinition(w: Tensor<'f32'>, scales: Float32Array, h: Float32Array): Int8Array {
  const [rows, n] = w.shape;
  const size = w.data.length / scales.length;
  const damping = dampingOf(h, n);
  const order = Array.from({ length: n }, (_, j) => j).sort((a, b) => h[b * n + b] - h[a * n + a] || a - b);
  const at = (a: number, b: number) => h[Math.max(a, b) * n + Math.min(a, b)] + (a === b ? damping : 0);
  const q = new Int8Array(rows * n);
  for (let row = 0; row < rows; row++) {
    const now = Array.from(w.data.subarray(row * n, (row + 1) * n));
    for (const [k, j] of order.entries()) {
      const scale = scales[Math.floor((row * n + j) / size)];
      q[row * n + j] = nearest(now[j], scale);
      const error = now[j] - scale * q[row * n + j];
      const rest = order.slice(k + 1);
      // e_rest minimizes eᵀ H e with e_j = error: H_rr e_r = −H_rj error
      const e = solve(
        rest.map(a => rest.map(b => at(a, b))),
        rest.map(a => -at(a, j) * error),
      );
      rest.forEach((a, i) => {
        now[a] -= e[i];
      });
    }
  }
  return q;
}

function solve(a: number[][], b: number[]): number[] {
  const n = b.length;
  for (let k = 0; k < n; k++)
    for (let i = k + 1; i < n; i++) {
      const factor = a[i][k] / a[k][k];
      for (let j = k; j < n; j++) a[i][j] -= factor * a[k][j];
      b[i] -= factor * b[k];
    }
  const x = new Array<number>(n).fill(0);
  for (let k = n - 1; k >= 0; k--) {
    let sum = b[k];
    for (let j = k + 1; j < n; j++) sum -= a[k][j] * x[j];
    x[k] = sum / a[k][k];
  }
  return x;
}

describe('the Hessian that calibration sums', () => {
  it('is Σ x xᵀ over the first four of every sixteen tokens of each sample', () => {
    fc.assert(
      fc.property(
        seed,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 }),
        (s, lengths) => {
          const n = 5;
          const next = random(s);
          const hessian = hessianOver();
          const expected = new Float64Array(n * n);
          for (const length of lengths) {
            const x = matrix(length, n, next);
            hessian.add(x);
            for (let t = 0; t < length; t++)
              if (t % 16 < 4)
                for (let a = 0; a < n; a++)
                  for (let b = 0; b <= a; b++) expected[a * n + b] += x.data[t * n + a] * x.data[t * n + b];
          }
          const h = hessian.value();
          for (let a = 0; a < n; a++)
            for (let b = 0; b <= a; b++) expect(h[a * n + b]).toBeCloseTo(expected[a * n + b], 4);
        },
      ),
    );
  });
});

describe('two in a byte', () => {
  it('come back as they were, and each is found alone', () => {
    fc.assert(
      fc.property(
        seed,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 33 }),
        (s, rows, columns) => {
          const next = random(s);
          const q = tensor(
            Int8Array.from({ length: rows * columns }, () => Math.floor(16 * next()) - 8),
            [rows, columns],
          );
          const bytes = packed(q);
          expect(bytes.shape).toEqual([rows, packedColumns(columns)]);
          expect(unpacked(bytes, columns)).toEqual(q);
          for (let row = 0; row < rows; row++)
            for (let k = 0; k < columns; k++)
              expect(nibble(bytes.data, row * bytes.shape[1], k)).toBe(q.data[row * columns + k]);
        },
      ),
    );
  });

  it('the even column in the low half, and nothing in what is left of a last byte', () => {
    expect([...packed(tensor(Int8Array.of(7, -8, -1), [1, 3])).data]).toEqual([-0x79, 0x0f]);
  });
});

it('GPTQ refuses the statistics of other channels', () => {
  const scheme = { bits: 4, per: { group: 4 }, rounding: 'gptq' } as const;
  const curvature = () => curvatureOf(Float32Array.of(2, 0, 0, 0, 2, 0, 0, 0, 2));
  expect(() => quantizeWeight(tensor(new Float32Array(8), [2, 4]), scheme, curvature)).toThrow(
    'quantize: statistics of 3 channels do not fit a weight of 4 columns',
  );
});
