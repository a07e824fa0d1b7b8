/**
 * Mamba and Mamba-2 in float64, written plainly: what every engine's logits are compared with. Weights are read as they are, every
 * operation is a double, and sums go from left to right.
 */

const silu = x => x / (1 + Math.exp(-x));
const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** W x for W [rows, columns]. */
function times(W, x, b) {
  const y = new Float64Array(W.shape[0]);
  for (let i = 0; i < y.length; i++) {
    let sum = 0;
    for (let j = 0, at = i * x.length; j < x.length; j++, at++) sum += W.data[at] * x[j];
    y[i] = b ? sum + b.data[i] : sum;
  }
  return y;
}

function norm(x, eps, w) {
  const scale = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + eps);
  return x.map((value, i) => value * scale * (w ? w.data[i] : 1));
}

/**
 * The convolution and its silu, token by token: x f64[channels] → f64[channels].
 *
 * @type {(weight: any, bias: any) => (x: Float64Array) => Float64Array}
 */
function convolution({ shape: [channels, k], data }, bias) {
  const window = Array.from({ length: k }, () => new Float64Array(channels)); // oldest first
  return input => {
    window.shift();
    window.push(input);
    return Float64Array.from({ length: channels }, (_, i) =>
      silu(window.reduce((sum, x, j) => sum + data[i * k + j] * x[i], bias ? bias.data[i] : 0)),
    );
  };
}

/**
 * What stands between in_proj and out_proj of a layer, token by token. `weight` reads a tensor of its mixer.
 *
 * @type {Record<string, (config: any, weight: (name: string) => any) => (projected: Float64Array) => Float64Array>}
 */
const mixers = {
  mamba({ dInner: d, dState: n, dtRank: r, mixerNormEps, useConvBias }, weight) {
    const conv = convolution(weight('conv1d.weight'), useConvBias && weight('conv1d.bias'));
    const xProj = weight('x_proj.weight');
    const dtProj = weight('dt_proj.weight');
    const dtBias = weight('dt_proj.bias');
    const A = Float64Array.from(weight('A_log').data, x => -Math.exp(x));
    const D = weight('D').data;
    const state = new Float64Array(d * n);
    const mixed = x => (mixerNormEps === undefined ? x : norm(x, mixerNormEps));
    return xz => {
      const u = conv(xz.subarray(0, d));
      const dtBC = times(xProj, u);
      const dt = times(dtProj, mixed(dtBC.subarray(0, r)), dtBias).map(softplus);
      const B = mixed(dtBC.subarray(r, r + n));
      const C = mixed(dtBC.subarray(r + n));
      return u.map((ui, i) => {
        let sum = 0;
        for (let j = 0, at = i * n; j < n; j++, at++) {
          state[at] = Math.exp(dt[i] * A[at]) * state[at] + dt[i] * B[j] * ui;
          sum += state[at] * C[j];
        }
        return (sum + D[i] * ui) * silu(xz[d + i]);
      });
    };
  },
  mamba2({ heads, headDim: p, dState: n, groups, normEps, useConvBias, dtLo = 0, dtHi = Infinity }, weight) {
    const d = heads * p;
    const conv = convolution(weight('conv1d.weight'), useConvBias && weight('conv1d.bias'));
    const A = Float64Array.from(weight('A_log').data, x => -Math.exp(x));
    const [D, dtBias, w] = ['D', 'dt_bias', 'norm.weight'].map(name => weight(name).data);
    const state = new Float64Array(d * n);
    return projected => {
      const dtRaw = projected.subarray(projected.length - heads);
      const xBC = conv(projected.subarray(d, projected.length - heads));
      const gated = Float64Array.from({ length: d }, (_, i) => {
        const head = Math.floor(i / p);
        const dt = Math.min(Math.max(softplus(dtRaw[head] + dtBias[head]), dtLo), dtHi);
        const decay = Math.exp(dt * A[head]);
        const B = d + Math.floor((head * groups) / heads) * n;
        const C = B + groups * n;
        let sum = D[head] * xBC[i];
        for (let j = 0, at = i * n; j < n; j++, at++) {
          state[at] = decay * state[at] + dt * xBC[B + j] * xBC[i];
          sum += state[at] * xBC[C + j];
        }
        return sum * silu(projected[i]);
      });
      const size = d / groups;
      for (let from = 0; from < d; from += size)
        gated.set(norm(gated.subarray(from, from + size), normEps), from);
      return gated.map((value, i) => value * w[i]);
    };
  },
};

/** Logits of every token, Float64Array[v] each. `model` is what `openFloatModel` gives. */
export function forward({ config, program }, tokens) {
  const { dModel: m, normEps, useBias } = config;
  const read = name => program.weights.read(name);
  const embedding = read('backbone.embeddings.weight');
  const hidden = Array.from(tokens, id => Float64Array.from(embedding.data.subarray(id * m, (id + 1) * m)));

  for (let layer = 0; layer < config.layers; layer++) {
    const weight = name => read(`backbone.layers.${layer}.${name}`);
    const w = weight('norm.weight');
    const [inProj, outProj] = ['in_proj', 'out_proj'].map(name => ({
      w: weight(`mixer.${name}.weight`),
      b: useBias && weight(`mixer.${name}.bias`),
    }));
    const mixer = mixers[config.architecture === 'mamba2' ? 'mamba2' : 'mamba'](config, name =>
      weight(`mixer.${name}`),
    );
    for (const h of hidden) {
      const y = mixer(times(inProj.w, norm(h, normEps, w), inProj.b));
      const out = times(outProj.w, y, outProj.b);
      for (let i = 0; i < m; i++) h[i] += out[i];
    }
  }
  const head = config.tieEmbeddings ? embedding : read('lm_head.weight');
  const normF = read('backbone.norm_f.weight');
  return hidden.map(h => times(head, norm(h, normEps, normF)));
}
