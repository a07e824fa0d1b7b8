/**
 * Ops written plainly, over an arithmetic that is given: what an author would write who knows the formulas and not the
 * order of the reference. None is wrong, so that a bound which one of them breaks is too tight.
 */
import type { Backend } from '../../src/backends/backend.ts';
import { factor } from '../../src/ops/hadamard.ts';
import { ops } from '../../src/ops/index.ts';
import { unpacked } from '../../src/ops/nibbles.ts';
import type { AnyKernel } from '../../src/run.ts';

export interface Arithmetic {
  readonly name: string;
  /** What becomes of every result. */
  readonly round: (x: number) => number;
  readonly sum: (terms: readonly number[]) => number;
}

const f = Math.fround;
const inTurn = (round: (x: number) => number) => (terms: readonly number[]) =>
  terms.reduce((sum, term) => round(sum + term), 0);
function inPairs(terms: readonly number[]): number {
  if (terms.length <= 1) return terms[0] ?? 0;
  const half = terms.length >> 1;
  return f(inPairs(terms.slice(0, half)) + inPairs(terms.slice(half)));
}

export const arithmetics: readonly Arithmetic[] = [
  { name: 'float64', round: x => x, sum: inTurn(x => x) },
  { name: 'float32 in turn', round: f, sum: inTurn(f) },
  { name: 'float32 in pairs', round: f, sum: inPairs },
];

type Kernels = { readonly [K in keyof typeof ops]?: KernelOf<(typeof ops)[K]> };
type KernelOf<O> = O extends { readonly reference: infer R } ? R : never;

const range = (size: number): number[] => Array.from({ length: size }, (_, i) => i);

export function honest({ name, round: r, sum }: Arithmetic): Backend {
  const exp = (x: number) => r(Math.exp(x));
  const silu = (x: number) => (x === Number.NEGATIVE_INFINITY ? -0 : r(x / r(1 + exp(-x))));
  const softplus = (x: number) => (x > 20 ? x : r(Math.log1p(exp(x))));
  const normed = (row: readonly number[], eps: number, w?: Float32Array) => {
    const mean = r(sum(row.map(v => r(v * v))) / row.length);
    const root = r(Math.sqrt(r(mean + f(eps))));
    return row.map((v, j) => r(r(v / root) * (w ? w[j] : 1)));
  };
  const kernels: Kernels = {
    absmaxScale: ({ x }, _, { scale }, { n }) => {
      for (const t of scale.data.keys())
        scale.data[t] = r(
          Math.max(...x.data.subarray(t * n, (t + 1) * n).map(Math.abs), f(1e-5)) * r(1 / 127),
        );
    },
    scaleChannels: ({ x, c }, { inverse }, { y }, { n }) => {
      for (const i of y.data.keys())
        y.data[i] = r(x.data[i] * (inverse ? r(1 / c.data[i % n]) : c.data[i % n]));
    },
    linear: ({ x, w, b }, _, { y }, { i, o }) => {
      for (const at of y.data.keys()) {
        const row = at % o;
        const t = (at - row) / o;
        const products = range(i).map(k => r(x.data[t * i + k] * w.data[row * i + k]));
        y.data[at] = sum(b ? [...products, b.data[row]] : products);
      }
    },
    linearI4: ({ w, ...inputs }, attrs, outputs, { i, o, ...dims }) =>
      kernels.linearI8!({ ...inputs, w: unpacked(w, i) }, attrs, outputs, { ...dims, i, o, p: o }),
    linearI8: ({ x, xscale, w, wscale, b }, _, { y }, { i, o, s, p, g }) => {
      const run = i / g;
      for (const at of y.data.keys()) {
        const row = at % o;
        const t = (at - row) / o;
        const parts = range(g).map(group => {
          let acc = 0;
          for (let k = group * run; k < (group + 1) * run; k++)
            acc += x.data[t * i + k] * w.data[row * i + k];
          return r(r(r(acc) * xscale.data[s === 1 ? 0 : t]) * wscale.data[(p === 1 ? 0 : row) * g + group]);
        });
        y.data[at] = sum(b ? [b.data[row], ...parts] : parts);
      }
    },
    rmsNorm: ({ x, w }, { eps }, { y }, { l, m }) => {
      for (let t = 0; t < l; t++)
        y.data.set(normed([...x.data.subarray(t * m, (t + 1) * m)], eps, w?.data), t * m);
    },
    gatedRmsNorm: ({ x, z, w }, { eps, g }, { y }, { l, d }) => {
      const size = d / g;
      for (let at = 0; at < l * d; at += size) {
        const row = range(size).map(j => r(x.data[at + j] * silu(z.data[at + j])));
        y.data.set(normed(row, eps, w?.data.subarray(at % d)), at);
      }
    },
    ssdScan: ({ dt, x, A, B, C, D, bias }, { g, lo, hi }, { y }, { l, h, p, n }, { S: state }) => {
      for (let t = 0; t < l; t++)
        for (let head = 0; head < h; head++) {
          const raw = r(dt.data[t * h + head] + (bias?.data[head] ?? 0));
          const step = Math.min(Math.max(softplus(raw), f(lo)), f(hi));
          const decay = exp(r(step * A.data[head]));
          const first = (t * g + Math.floor(head / (h / g))) * n;
          const rows = new Float64Array(n * p);
          for (let c = 0; c < p; c++) {
            const i = (t * h + head) * p + c;
            const products = range(n).map(s => {
              const at = (head * n + s) * p + c;
              const after = r(r(decay * state.data[at]) + r(r(step * B.data[first + s]) * x.data[i]));
              rows[s * p + c] = after;
              return r(after * C.data[first + s]);
            });
            y.data[i] = sum(D ? [...products, r(D.data[head] * x.data[i])] : products);
          }
          state.put(head * n * p, rows);
        }
    },
    fwht: ({ x }, { inverse }, { y }, { l, n }) => {
      const { outer, base, run } = factor(n)!;
      const norm = r(1 / Math.sqrt(n));
      for (let t = 0; t < l; t++) {
        const row = Array.from(x.data.subarray(t * n, (t + 1) * n), v => r(v * norm));
        const butterfly = (stride: number) => {
          for (let i = 0; i < n; i++) {
            if (Math.floor(i / stride) % 2) continue;
            const [a, b] = [row[i], row[i + stride]];
            row[i] = r(a + b);
            row[i + stride] = r(a - b);
          }
        };
        if (outer === 2) butterfly(n / 2);
        const K = base.length;
        for (let half = 0; half < outer; half++)
          for (let c = 0; c < run; c++) {
            const at = (j: number) => half * (n / outer) + j * run + c;
            const column = range(K).map(j => row[at(j)]);
            for (let i = 0; i < K; i++)
              row[at(i)] = sum(column.map((v, j) => (inverse ? base[j][i] : base[i][j]) * v));
          }
        for (let stride = run / 2; stride >= 1; stride /= 2) butterfly(stride);
        y.data.set(row, t * n);
      }
    },
    attention: ({ q, k, v }, { h, g, scale }, { y }, { l, p, t: past }, { K, V }) => {
      K.put(past * g * p, k.data);
      V.put(past * g * p, v.data);
      for (let t = 0; t < l; t++)
        for (let i = 0; i < h; i++) {
          const group = Math.floor(i / (h / g));
          const seen = range(past + t + 1);
          const scores = seen.map(s => {
            const products = range(p).map(c =>
              r(q.data[(t * h + i) * p + c] * K.data[(s * g + group) * p + c]),
            );
            return r(f(scale) * sum(products));
          });
          const most = Math.max(...scores);
          const weights = scores.map(c => exp(r(c - most)));
          const total = sum(weights);
          for (let c = 0; c < p; c++) {
            const values = seen.map(s => r(weights[s] * V.data[(s * g + group) * p + c]));
            y.data[(t * h + i) * p + c] = r(sum(values) / total);
          }
        }
    },
    rope: ({ x, cos, sin }, _, { y }, { p, r: half }) => {
      for (const [i, value] of x.data.entries()) {
        const c = i % p;
        const at = Math.floor(i / x.shape[1]) * half + (c % half);
        const other = c < half ? -x.data[i + half] : x.data[i - half];
        y.data[i] = c < 2 * half ? r(r(value * cos.data[at]) + r(other * sin.data[at])) : value;
      }
    },
    ropeTable: ({ freq }, { sine }, { y }, { l, r: half }, { fed }) => {
      for (const i of y.data.keys()) {
        const position = fed.data[0] + Math.floor(i / half);
        y.data[i] = r((sine ? Math.sin : Math.cos)(f(position * freq.data[i % half])));
      }
      fed.put(0, [fed.data[0] + l]);
    },
    swiglu: ({ gate, up }, _, { y }) => {
      for (const i of y.data.keys()) y.data[i] = r(silu(gate.data[i]) * up.data[i]);
    },
    squaredRelu: ({ x }, _, { y }) => {
      for (const i of y.data.keys()) y.data[i] = r(Math.max(x.data[i], 0) ** 2);
    },
    negExp: ({ x }, _, { y }) => {
      for (const i of y.data.keys()) y.data[i] = -exp(x.data[i]);
    },
    silu: ({ x }, _, { y }) => {
      for (const i of y.data.keys()) y.data[i] = silu(x.data[i]);
    },
    softplus: ({ x }, _, { y }) => {
      for (const i of y.data.keys()) y.data[i] = softplus(x.data[i]);
    },
    causalConv1d: ({ x, w, b }, { activation }, { y }, { l, d, k }, { past }) => {
      const before = past.data.slice();
      const at = (t: number, c: number) => (t >= 0 ? x.data[t * d + c] : before[c * (k - 1) + t + k - 1]);
      for (const i of y.data.keys()) {
        const c = i % d;
        const products = range(k).map(j => r(w.data[c * k + j] * at((i - c) / d - k + 1 + j, c)));
        const value = sum(b ? [...products, b.data[c]] : products);
        y.data[i] = activation === 'silu' ? silu(value) : value;
      }
      for (let c = 0; c < d; c++)
        past.put(
          c * (k - 1),
          range(k - 1).map(j => at(l - k + 1 + j, c)),
        );
    },
    selectiveScan: ({ u, dt, A, B, C, D, z }, _, { y }, { l, d, n }, { h: state }) => {
      const h = Array.from(state.data);
      for (let t = 0; t < l; t++)
        for (let c = 0; c < d; c++) {
          const i = t * d + c;
          const products = range(n).map(s => {
            const decay = exp(r(dt.data[i] * A.data[c * n + s]));
            const input = r(r(dt.data[i] * B.data[t * n + s]) * u.data[i]);
            h[c * n + s] = r(r(decay * h[c * n + s]) + input);
            const product = r(h[c * n + s] * C.data[t * n + s]);
            return product;
          });
          state.put(c * n, h.slice(c * n, (c + 1) * n));
          h.splice(c * n, n, ...state.data.subarray(c * n, (c + 1) * n));
          const value = sum(D ? [...products, r(D.data[c] * u.data[i])] : products);
          y.data[i] = z ? r(value * silu(z.data[i])) : value;
        }
    },
  };
  const byName = new Map(
    Object.entries(kernels).map(([key, kernel]) => [
      ops[key as keyof typeof ops].name,
      kernel as unknown as AnyKernel,
    ]),
  );
  return { name, kernelOf: op => byName.get(op.name) ?? op.reference };
}
