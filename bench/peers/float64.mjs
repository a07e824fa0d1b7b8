/**
 * Mamba in float64, written plainly: what every engine's logits are compared with. Weights are read as they are, every
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

/** Logits of every token, Float64Array[v] each. `model` is what `openFloatModel` gives. */
export function forward({ config, program }, tokens) {
  const { dModel: m, dInner: d, dState: n, dConv: k, dtRank: r, normEps, mixerNormEps } = config;
  const read = name => program.weights.read(name);
  const embedding = read('backbone.embeddings.weight');
  const hidden = Array.from(tokens, id => Float64Array.from(embedding.data.subarray(id * m, (id + 1) * m)));
  const mixed = x => (mixerNormEps === undefined ? x : norm(x, mixerNormEps));

  for (let layer = 0; layer < config.layers; layer++) {
    const weight = name => read(`backbone.layers.${layer}.${name}`);
    const bias = (name, there) => (there ? weight(name) : undefined);
    const w = weight('norm.weight');
    const inProj = weight('mixer.in_proj.weight');
    const inBias = bias('mixer.in_proj.bias', config.useBias);
    const conv = weight('mixer.conv1d.weight');
    const convBias = bias('mixer.conv1d.bias', config.useConvBias);
    const xProj = weight('mixer.x_proj.weight');
    const dtProj = weight('mixer.dt_proj.weight');
    const dtBias = weight('mixer.dt_proj.bias');
    const A = Float64Array.from(weight('mixer.A_log').data, x => -Math.exp(x));
    const D = weight('mixer.D').data;
    const outProj = weight('mixer.out_proj.weight');
    const outBias = bias('mixer.out_proj.bias', config.useBias);
    const window = Array.from({ length: k }, () => new Float64Array(d)); // oldest first
    const state = new Float64Array(d * n);

    for (const h of hidden) {
      const xz = times(inProj, norm(h, normEps, w), inBias);
      window.shift();
      window.push(xz.subarray(0, d));
      const u = Float64Array.from({ length: d }, (_, i) =>
        silu(
          window.reduce((sum, x, j) => sum + conv.data[i * k + j] * x[i], convBias ? convBias.data[i] : 0),
        ),
      );
      const dtBC = times(xProj, u);
      const dt = times(dtProj, mixed(dtBC.subarray(0, r)), dtBias).map(softplus);
      const B = mixed(dtBC.subarray(r, r + n));
      const C = mixed(dtBC.subarray(r + n));
      const y = u.map((ui, i) => {
        let sum = 0;
        for (let j = 0, at = i * n; j < n; j++, at++) {
          state[at] = Math.exp(dt[i] * A[at]) * state[at] + dt[i] * B[j] * ui;
          sum += state[at] * C[j];
        }
        return (sum + D[i] * ui) * silu(xz[d + i]);
      });
      const out = times(outProj, y, outBias);
      for (let i = 0; i < m; i++) h[i] += out[i];
    }
  }
  const head = config.tieEmbeddings ? embedding : read('lm_head.weight');
  const normF = read('backbone.norm_f.weight');
  return hidden.map(h => times(head, norm(h, normEps, normF)));
}
