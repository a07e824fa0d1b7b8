/**
 * A float model in float64, from the start of a text, node by node: what every engine's logits are compared with. Weights are read
 * as they are, every operation is a double, and sums go from left to right.
 */

const silu = x => x / (1 + Math.exp(-x));
const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** f64[rows, columns] whose value at row t, column i is `of(t, i)`. */
function table(rows, columns, of) {
  const data = new Float64Array(rows * columns);
  for (let at = 0, t = 0; t < rows; t++) for (let i = 0; i < columns; i++) data[at++] = of(t, i);
  return { shape: [rows, columns], data };
}
const map = ({ shape, data }, of) => ({ shape, data: Float64Array.from(data, of) });

/** Σ a[i] b[i] of n values, from `from` and `at` on. */
function dot(a, from, b, at, n) {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += a[from + i] * b[at + i];
  return sum;
}

/** Each of g parts of a row, divided by its root mean square. */
function normed({ shape: [l, d], data }, w, eps, g = 1) {
  const size = d / g;
  const scales = table(l, g, (t, part) => {
    const at = t * d + part * size;
    return 1 / Math.sqrt(dot(data, at, data, at, size) / size + eps);
  }).data;
  return table(l, d, (t, i) => data[t * d + i] * scales[t * g + Math.floor(i / size)] * (w ? w.data[i] : 1));
}

/** Each op of a float model: its inputs and attributes → its output. */
const compute = {
  embedding: ({ tokens, w: { shape, data } }) =>
    table(tokens.data.length, shape[1], (t, i) => data[tokens.data[t] * shape[1] + i]),
  linear: ({ x, w, b }) => {
    const [o, i] = w.shape;
    return table(x.shape[0], o, (t, row) => dot(x.data, t * i, w.data, row * i, i) + (b ? b.data[row] : 0));
  },
  add: ({ x, y }) => map(x, (value, i) => value + y.data[i]),
  slice: ({ x: { shape, data } }, { start, size }) =>
    table(shape[0], size, (t, i) => data[t * shape[1] + start + i]),
  silu: ({ x }) => map(x, silu),
  softplus: ({ x }) => map(x, softplus),
  swiglu: ({ gate, up }) => map(gate, (value, i) => silu(value) * up.data[i]),
  'squared-relu': ({ x }) => map(x, value => Math.max(value, 0) ** 2),
  'neg-exp': ({ x }) => map(x, value => -Math.exp(value)),
  'rms-norm': ({ x, w }, { eps = 1e-5 }) => normed(x, w, eps),
  'gated-rms-norm': ({ x, z, w }, { eps = 1e-5, g = 1 }) =>
    normed(
      map(x, (value, i) => value * silu(z.data[i])),
      w,
      eps,
      g,
    ),
  'causal-conv1d': ({ x, w, b }) => {
    const [l, d] = x.shape;
    const k = w.shape[1];
    return table(l, d, (t, c) => {
      let sum = b ? b.data[c] : 0;
      for (let j = 0; j < k; j++)
        if (t - k + 1 + j >= 0) sum += w.data[c * k + j] * x.data[(t - k + 1 + j) * d + c];
      return silu(sum);
    });
  },
  'selective-scan': ({ u, dt, A, B, C, D, z }) => {
    const [d, n] = A.shape;
    const h = new Float64Array(d * n);
    return table(u.shape[0], d, (t, c) => {
      const at = t * d + c;
      let sum = D ? D.data[c] * u.data[at] : 0;
      for (let s = 0; s < n; s++) {
        const i = c * n + s;
        h[i] = Math.exp(dt.data[at] * A.data[i]) * h[i] + dt.data[at] * B.data[t * n + s] * u.data[at];
        sum += h[i] * C.data[t * n + s];
      }
      return z ? sum * silu(z.data[at]) : sum;
    });
  },
  'ssd-scan': ({ dt, x, A, B, C, D, bias }, { g = 1, lo = 0, hi = Infinity }) => {
    const [l, heads] = dt.shape;
    const d = x.shape[1];
    const n = B.shape[1] / g;
    const S = new Float64Array(d * n);
    return table(l, d, (t, c) => {
      const head = Math.floor((c * heads) / d);
      const raw = dt.data[t * heads + head] + (bias ? bias.data[head] : 0);
      const step = Math.min(Math.max(softplus(raw), lo), hi);
      const decay = Math.exp(step * A.data[head]);
      const input = x.data[t * d + c];
      const group = (t * g + Math.floor((head * g) / heads)) * n;
      let sum = D ? D.data[head] * input : 0;
      for (let s = 0; s < n; s++) {
        S[c * n + s] = decay * S[c * n + s] + step * B.data[group + s] * input;
        sum += S[c * n + s] * C.data[group + s];
      }
      return sum;
    });
  },
  'rope-table': ({ tokens, freq }, { sine = false }) =>
    table(tokens.data.length, freq.data.length, (t, i) =>
      sine ? Math.sin(t * freq.data[i]) : Math.cos(t * freq.data[i]),
    ),
  rope: ({ x, cos, sin }, { h = 1 }) => {
    const [l, width] = x.shape;
    const [p, r] = [width / h, cos.shape[1]];
    return table(l, width, (t, c) => {
      const [i, at] = [c % p, t * width + c];
      if (i >= 2 * r) return x.data[at];
      const angle = t * r + (i % r);
      const other = i < r ? -x.data[at + r] : x.data[at - r];
      return x.data[at] * cos.data[angle] + other * sin.data[angle];
    });
  },
  attention: ({ q, k, v }, { h = 1, g = 1, scale = 1 }) => {
    const [l, width] = q.shape;
    const p = width / h;
    const weights = Array.from({ length: l * h }, (_, at) => {
      const [t, head] = [Math.floor(at / h), Math.floor(((at % h) * g) / h)];
      const scores = Array.from(
        { length: t + 1 },
        (_, s) => scale * dot(q.data, at * p, k.data, (s * g + head) * p, p),
      );
      const most = Math.max(...scores);
      const exps = scores.map(score => Math.exp(score - most));
      const sum = exps.reduce((a, b) => a + b);
      return exps.map(e => e / sum);
    });
    return table(l, width, (t, c) => {
      const [i, channel] = [Math.floor(c / p), c % p];
      const head = Math.floor((i * g) / h);
      return weights[t * h + i].reduce((sum, w, s) => sum + w * v.data[(s * g + head) * p + channel], 0);
    });
  },
};

/** Logits of every token, Float64Array[v] each. `model` is what `openFloatModel` gives. */
export function forward({ program: { graph, weights } }, tokens) {
  const values = new Map([[graph.input, { shape: [tokens.length], data: tokens }]]);
  const read = ref => values.get(ref) ?? weights.read(ref);
  for (const node of graph.nodes) {
    if (node.kind === 'site') {
      values.set(node.out, read(node.in));
      continue;
    }
    const inputs = Object.fromEntries(Object.entries(node.in).map(([key, ref]) => [key, read(ref)]));
    const [out] = Object.values(node.out);
    values.set(out, compute[node.op.name](inputs, node.attrs));
  }
  const { shape, data } = read(graph.result);
  return Array.from({ length: shape[0] }, (_, t) => data.subarray(t * shape[1], (t + 1) * shape[1]));
}
