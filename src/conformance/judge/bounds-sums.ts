/** Bounds of the ops that add along an axis of the input: in any order a sum of i products costs at most (i + …) u Σ|x w|. */
import { factor } from '../../ops/hadamard.ts';
import { unpacked } from '../../ops/nibbles.ts';
import {
  alike,
  allOf,
  type Bounds,
  flushed,
  roundings,
  siluDoubt,
  sum,
  times,
  tolerance,
  U,
} from './doubt.ts';

export const sumBounds: Readonly<Record<string, Bounds>> = {
  linear: ({ x, w, b }, { dims: { i, o } }, { y }) => ({
    y: tolerance('2 (i + 1) u (Σ|x w| + |b|) + i τ', y, at => {
      const row = at % o;
      const t = (at - row) / o;
      let size = Math.abs(b?.[row] ?? 0);
      for (let k = 0; k < i; k++) size += Math.abs(x[t * i + k] * w[row * i + k]);
      return sum(roundings(2 * (i + 1), size), flushed(i));
    }),
  }),

  'linear-i8': ({ x, xscale, w, wscale, b }, { dims: { i, o, s, p, g } }, { y }) => ({
    y: tolerance('2 (g + 3) u (Σ|s_x s_w Σ x w| + |b|) + Σ|Σ x w| τ', y, at => {
      const row = at % o;
      const t = (at - row) / o;
      let size = Math.abs(b?.[row] ?? 0);
      let steps = 0;
      for (let group = 0, k = 0; group < g; group++) {
        let acc = 0;
        for (const end = ((group + 1) * i) / g; k < end; k++) acc += x[t * i + k] * w[row * i + k];
        size += Math.abs(acc * xscale[s === 1 ? 0 : t] * wscale[(p === 1 ? 0 : row) * g + group]);
        steps += Math.abs(acc);
      }
      return sum(roundings(2 * g + 4, size), alike(2, size), flushed(1 + steps));
    }),
  }),

  'linear-i4': ({ w, ...inputs }, { dims: { i, o, h, ...dims }, ...call }, outputs) =>
    sumBounds['linear-i8'](
      { ...inputs, w: unpacked({ dtype: 'i8', shape: [o, h], data: w as Int8Array }, i).data },
      { ...call, dims: { ...dims, i, o, p: o } },
      outputs,
    ),

  'rms-norm': ({ x, w }, { dims: { l, m }, attrs: { eps } }, { y }) => {
    const squares = Array.from({ length: l }, (_, t) => {
      let sum = 0;
      for (let j = 0; j < m; j++) sum += x[t * m + j] ** 2;
      return sum;
    });
    const formula =
      '(m + 12) u |y| + (1 + |w|) τ: half of the sum of m squares, √, ÷, two products, on either side';
    return {
      y: tolerance(formula, y, i => {
        const square = squares[Math.floor(i / m)];
        const mean = square / m + Math.fround(eps as number);
        const size = Math.abs((x[i] * (w?.[i % m] ?? 1)) / Math.sqrt(mean));
        // In f32 the sum may overflow, so that y is 0. With more precision it does not.
        if (square >= 2 ** 127) return allOf((1 + U * m) * size);
        return sum(
          alike(m + 8, size),
          roundings(4, size),
          flushed(1 + Math.abs(w?.[i % m] ?? 1) + size / mean),
        );
      }),
    };
  },

  'gated-rms-norm': ({ x, z, w }, { dims: { d, g }, attrs: { eps } }, { y }) => {
    const width = d / g;
    const floor = width * Math.fround(eps as number);
    const silu = (v: number) => v / (1 + Math.exp(-v));
    const gated = Float64Array.from(
      x,
      (value, i) => value * (z[i] === Number.NEGATIVE_INFINITY ? -0 : silu(z[i])),
    );
    const doubts = Array.from(x, (value, i) =>
      sum(times(siluDoubt(z[i]), Math.abs(value)), roundings(2, Math.abs(gated[i])), flushed(1)),
    );
    const groups = Array.from({ length: x.length / width }, (_, group) => {
      let [square, off] = [0, 0];
      for (let i = group * width; i < (group + 1) * width; i++) {
        square += gated[i] ** 2;
        off += Math.abs(gated[i]) * doubts[i].most;
      }
      return { square, ofRoot: off / (square + floor) };
    });
    const formula =
      '|r w| e_v + |y| (Σ|v| e_v / Σ(v² + eps) + (d/g + 12) u) + (1 + |w|) τ, e_v = |x| (12 u |silu| + (1 + |z|) τ) + 2 u |v|';
    return {
      y: tolerance(formula, y, i => {
        const { square, ofRoot } = groups[Math.floor(i / width)];
        const factor = Math.abs(w?.[i % d] ?? 1) / Math.sqrt((square + floor) / width);
        const size = Math.abs(gated[i]) * factor;
        // In f32 the sum may overflow, so that y is 0. With more precision it does not.
        if (square >= 2 ** 127) return allOf((1 + U * width) * size);
        return sum(
          times(doubts[i], factor),
          allOf(ofRoot * size),
          alike(width + 8, size),
          roundings(4, size),
          flushed(1 + Math.abs(w?.[i % d] ?? 1) + (size * width) / (square + floor)),
        );
      }),
    };
  },

  fwht: ({ x }, { dims: { n } }, { y }) => {
    const { outer, base, run } = factor(n)!;
    const depth = Math.log2(run * outer) + base.length - 1;
    const norms = Array.from({ length: y.shape[0] }, (_, t) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += Math.abs(x[t * n + i]);
      return sum / Math.sqrt(n);
    });
    return {
      y: tolerance('2 (log₂(n / K) + K + 1) u Σ|x| / √n + τ', y, i =>
        sum(roundings(2 * (depth + 2), norms[Math.floor(i / n)]), flushed(1)),
      ),
    };
  },
};
