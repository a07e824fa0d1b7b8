/**
 * docs/onnx.md: CausalConvWithState and LinearAttention of ONNX opset 27, and causal-conv1d and selective-scan, compute the
 * same where the document says so. The ONNX side is written here from the operators' definitions, in float64; the shapes are
 * those of ONNX's own node tests.
 */
import { describe, expect, it } from 'vitest';
import { causalConv1d } from '../../src/ops/causal-conv1d.ts';
import { silu } from '../../src/ops/numerics.ts';
import { selectiveScan } from '../../src/ops/selective-scan.ts';
import { type Tensor, tensor } from '../../src/tensor.ts';
import { noise, random } from '../toy.ts';

const next = random(27);
const normal = (size: number, spread = 1) => noise(size, next, spread);
const f = Math.fround;

interface Result {
  readonly output: ArrayLike<number>;
  readonly state: ArrayLike<number>;
}

/** As near as a short f32 sum with an exp in it comes: 2⁻¹⁹ of the largest value. */
function agree(ours: Result, onnx: Result): void {
  for (const part of ['output', 'state'] as const) {
    const [got, expected] = [Array.from(ours[part]), Array.from(onnx[part])];
    expect(got.length).toBe(expected.length);
    const largest = Math.max(0, ...expected.map(Math.abs));
    const worst = Math.max(0, ...expected.map((x, i) => Math.abs(x - got[i])));
    expect(worst).toBeLessThanOrEqual(2 ** -19 * largest);
  }
}

const f32 = (data: Float32Array, ...shape: number[]): Tensor<'f32'> => tensor(data, shape) as Tensor<'f32'>;
/** [rows, columns] → [columns, rows]. */
const transpose = (data: Float32Array, rows: number, columns: number): Float32Array =>
  Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]);
const part = (data: Float32Array, i: number, size: number) => data.subarray(i * size, (i + 1) * size);
const concat = (parts: readonly Float32Array[]) => Float32Array.from(parts.flatMap(x => [...x]));

// ---- CausalConvWithState -----------------------------------------------------------------------------------------------

interface Conv {
  readonly shape: readonly [batch: number, channels: number, length: number, k: number];
  readonly input: Float32Array; // [batch, channels, length]
  readonly weight: Float32Array; // [channels, 1, k]
  readonly bias?: Float32Array; // [channels]
  readonly past?: Float32Array; // [batch, channels, k − 1]
  readonly activation: 'none' | 'silu' | 'swish';
}

/** From the definition: pad by the past, convolve each channel, activate; the state is the end of what was padded. */
function onnxConv({
  shape: [batch, channels, length, k],
  input,
  weight,
  bias,
  past,
  activation,
}: Conv): Result {
  const output = new Float64Array(batch * channels * length);
  const state = new Float64Array(batch * channels * (k - 1));
  for (let row = 0; row < batch * channels; row++) {
    const before = past ? part(past, row, k - 1) : new Float32Array(k - 1);
    const padded = [...before, ...part(input, row, length)];
    const channel = row % channels;
    for (let at = 0; at < length; at++) {
      let sum = bias?.[channel] ?? 0;
      for (let j = 0; j < k; j++) sum += weight[channel * k + j] * padded[at + j];
      output[row * length + at] = activation === 'none' ? sum : sum / (1 + Math.exp(-sum));
    }
    state.set(padded.slice(length), row * (k - 1));
  }
  return { output, state };
}

/** causal-conv1d, once for each sequence of the batch. */
function oursAsConv({ shape: [batch, channels, length, k], ...conv }: Conv): Result {
  const results = Array.from({ length: batch }, (_, i) =>
    causalConv1d(
      {
        x: f32(transpose(part(conv.input, i, channels * length), channels, length), length, channels),
        w: f32(conv.weight, channels, k),
        ...(conv.bias && { b: conv.bias }),
        ...(conv.past && { past: f32(part(conv.past, i, channels * (k - 1)), channels, k - 1) }),
      },
      { activation: conv.activation === 'swish' ? 'silu' : conv.activation },
    ),
  );
  return {
    output: concat(results.map(({ y }) => transpose(y.data, length, channels))),
    state: concat(results.map(({ past }) => past.data)),
  };
}

type ConvOptions = Pick<Conv, 'shape'> & {
  readonly bias?: boolean;
  readonly past?: boolean;
  readonly activation?: Conv['activation'];
};
function makeConv({ shape, bias, past, activation = 'none' }: ConvOptions): Conv {
  const [batch, channels, length, k] = shape;
  return {
    shape,
    input: normal(batch * channels * length),
    weight: normal(channels * k),
    ...(bias && { bias: normal(channels) }),
    ...(past && { past: normal(batch * channels * (k - 1)) }),
    activation,
  };
}

describe('CausalConvWithState is causal-conv1d', () => {
  const usual = [2, 4, 8, 4] as const;
  const cases: Record<string, ConvOptions> = {
    basic: { shape: usual },
    'with-bias': { shape: usual, bias: true },
    'with-past-state': { shape: usual, past: true },
    silu: { shape: usual, activation: 'silu' },
    'swish-alias': { shape: usual, activation: 'swish' },
    'decode-step': { shape: [2, 4, 1, 4], bias: true, past: true },
    'kernel-size-one': { shape: [2, 4, 8, 1] },
    'with-bias-and-past-state': { shape: usual, bias: true, past: true },
    'silu-with-past-state': { shape: usual, past: true, activation: 'silu' },
    'b1-c1-degenerate': { shape: [1, 1, 6, 4] },
    'short-input-no-past-state': { shape: [2, 4, 2, 5] },
    'short-input-with-past-state': { shape: [2, 4, 2, 5], past: true },
  };
  it.each(Object.entries(cases))('%s', (_, options) => {
    const conv = makeConv(options);
    const [ours, onnx] = [oursAsConv(conv), onnxConv(conv)];
    agree(ours, onnx);
    expect(Array.from(ours.state)).toEqual(Array.from(onnx.state)); // copies
  });

  it('would not agree with the taps in the other order', () => {
    const conv = makeConv({ shape: usual });
    const flipped = concat([0, 1, 2, 3].map(c => part(conv.weight, c, 4).slice().reverse()));
    expect(() => agree(oursAsConv({ ...conv, weight: flipped }), onnxConv(conv))).toThrow();
  });
});

// ---- LinearAttention ---------------------------------------------------------------------------------------------------

interface Attention {
  readonly shape: readonly [
    batch: number,
    tokens: number,
    qHeads: number,
    kvHeads: number,
    dk: number,
    dv: number,
  ];
  readonly scale: number; // 0: 1 / √dk
  readonly query: Float32Array; // [batch, tokens, qHeads · dk]
  readonly key: Float32Array; // [batch, tokens, kvHeads · dk]
  readonly value: Float32Array; // [batch, tokens, kvHeads · dv]
  readonly past?: Float32Array; // [batch, kvHeads, dk, dv]
  readonly decay?: Float32Array; // [batch, tokens, kvHeads · dk] or [batch, tokens, kvHeads]; absent: the rule `linear`
}

/** From the definition: S = exp(g) ∘ S + k ⊗ v, o = scale · qᵀ S, for each head. */
function onnxAttention(attention: Attention): Result {
  const { shape, query, key, value, past, decay } = attention;
  const [batch, tokens, qHeads, kvHeads, dk, dv] = shape;
  const scale = attention.scale || 1 / Math.sqrt(dk);
  const perKey = decay?.length === batch * tokens * kvHeads * dk;
  const state = Float64Array.from(past ?? new Float32Array(batch * kvHeads * dk * dv));
  const output = new Float64Array(batch * tokens * qHeads * dv);
  for (let b = 0; b < batch; b++)
    for (let t = b * tokens; t < (b + 1) * tokens; t++)
      for (let q = 0; q < qHeads; q++) {
        const head = Math.floor((q * kvHeads) / qHeads);
        const first = (q * kvHeads) % qHeads === 0; // its heads share one state: it moves once
        for (let m = 0; m < dv; m++) {
          let sum = 0;
          for (let s = 0; s < dk; s++) {
            const at = ((b * kvHeads + head) * dk + s) * dv + m;
            const g = decay ? decay[perKey ? (t * kvHeads + head) * dk + s : t * kvHeads + head] : 0;
            if (first)
              state[at] =
                Math.exp(g) * state[at] +
                key[(t * kvHeads + head) * dk + s] * value[(t * kvHeads + head) * dv + m];
            sum += query[(t * qHeads + q) * dk + s] * state[at];
          }
          output[(t * qHeads + q) * dv + m] = scale * sum;
        }
      }
  return { output, state };
}

describe('the scan of Mamba is LinearAttention with one head a channel', () => {
  interface Scan {
    readonly l: number;
    readonly d: number;
    readonly n: number;
    readonly past: boolean;
  }
  const scans: Record<string, Scan> = {
    prefill: { l: 9, d: 6, n: 16, past: false },
    'prefill with past': { l: 7, d: 5, n: 4, past: true },
    'decode step': { l: 1, d: 8, n: 16, past: true },
    'one state': { l: 5, d: 3, n: 1, past: true },
  };
  it.each(Object.entries(scans))('%s', (_, { l, d, n, past }) => {
    const u = normal(l * d);
    const dt = normal(l * d).map(x => f(Math.log1p(Math.exp(x))));
    const A = normal(d * n).map(x => f(-Math.exp(x)));
    const [B, C, D, z] = [normal(l * n), normal(l * n), normal(d), normal(l * d)];
    const before = past ? normal(d * n) : undefined;
    const ours = selectiveScan({
      ...{
        u: f32(u, l, d),
        dt: f32(dt, l, d),
        A: f32(A, d, n),
        B: f32(B, l, n),
        C: f32(C, l, n),
        D,
        z: f32(z, l, d),
      },
      ...(before && { h: f32(before, d, n) }),
    });

    const each = (of: (t: number, c: number, s: number) => number) =>
      Float32Array.from({ length: l * d * n }, (_x, i) =>
        of(Math.floor(i / (d * n)), Math.floor(i / n) % d, i % n),
      );
    const { output, state } = onnxAttention({
      shape: [1, l, d, d, n, 1],
      scale: 1,
      query: each((t, _c, s) => C[t * n + s]),
      key: each((t, _c, s) => B[t * n + s]),
      value: dt.map((step, i) => f(step * u[i])),
      decay: each((t, c, s) => f(dt[t * d + c] * A[c * n + s])),
      ...(before && { past: before }), // [1, d, n, 1]: the same order
    });
    const gated = Array.from(output, (o, i) => (o + D[i % d] * u[i]) * silu(z[i]));
    agree({ output: ours.y.data, state: ours.h.data }, { output: gated, state });
  });
});

/**
 * selective-scan for every sequence and query head, token by token: a channel for each element of v, dt = 1 and A = g, so that
 * A may change from token to token.
 */
function oursAsAttention(attention: Attention): Result {
  const { shape, query, key, value, past, decay } = attention;
  const [batch, tokens, qHeads, kvHeads, dk, dv] = shape;
  const scale = f(attention.scale || 1 / Math.sqrt(dk));
  const output = new Float32Array(batch * tokens * qHeads * dv);
  const states = new Float32Array(batch * kvHeads * dk * dv);
  for (let b = 0; b < batch; b++)
    for (let q = 0; q < qHeads; q++) {
      const head = Math.floor((q * kvHeads) / qHeads);
      const row = b * kvHeads + head;
      let h = f32(past ? transpose(part(past, row, dk * dv), dk, dv) : new Float32Array(dk * dv), dv, dk);
      for (let t = b * tokens; t < (b + 1) * tokens; t++) {
        const g = new Float32Array(dk);
        if (decay?.length === batch * tokens * kvHeads) g.fill(decay[t * kvHeads + head]);
        else if (decay) g.set(part(decay, t * kvHeads + head, dk));
        const result = selectiveScan({
          u: f32(part(value, t * kvHeads + head, dv), 1, dv),
          dt: f32(new Float32Array(dv).fill(1), 1, dv),
          A: f32(concat(Array.from({ length: dv }, () => g)), dv, dk),
          B: f32(part(key, t * kvHeads + head, dk), 1, dk),
          C: f32(part(query, t * qHeads + q, dk), 1, dk),
          h,
        });
        h = result.h;
        output.set(
          result.y.data.map(y => f(scale * y)),
          (t * qHeads + q) * dv,
        );
      }
      states.set(transpose(h.data, dv, dk), row * dk * dv);
    }
  return { output, state: states };
}

describe('LinearAttention without delta is selective-scan', () => {
  interface Options {
    readonly shape: Attention['shape'];
    readonly decay?: 'per key' | 'per head';
    readonly past?: boolean;
    readonly scale?: number;
  }
  const usual = [2, 4, 4, 4, 8, 8] as const;
  const make = ({ shape, decay, past, scale = 0 }: Options): Attention => {
    const [batch, tokens, qHeads, kvHeads, dk, dv] = shape;
    const size = batch * tokens * kvHeads;
    return {
      shape,
      scale,
      query: normal(batch * tokens * qHeads * dk),
      key: normal(size * dk),
      value: normal(size * dv),
      ...(past && { past: normal(batch * kvHeads * dk * dv, 0.1) }),
      ...(decay && { decay: normal(decay === 'per key' ? size * dk : size).map(g => f(-Math.abs(g) * 0.1)) }),
    };
  };
  const cases: Record<string, Options> = {
    linear: { shape: usual },
    'linear-t1-no-past': { shape: [2, 1, 4, 4, 8, 8] },
    gated: { shape: usual, decay: 'per key' },
    'gated-per-head-decay': { shape: usual, decay: 'per head' },
    'gated-prefill-with-past': { shape: usual, decay: 'per key', past: true },
    'gated-decode-step': { shape: [2, 1, 4, 4, 8, 8], decay: 'per head', past: true },
    'gated-gqa': { shape: [2, 4, 8, 4, 8, 8], decay: 'per key', past: true },
    'gated-mqa': { shape: [2, 4, 8, 1, 8, 8], decay: 'per head' },
    'gated-explicit-scale': { shape: usual, decay: 'per key', scale: 0.25 },
    'gated-other-sizes': { shape: [1, 5, 2, 2, 3, 7], decay: 'per key', past: true },
  };
  it.each(Object.entries(cases))('%s', (_, options) => {
    const attention = make(options);
    agree(oursAsAttention(attention), onnxAttention(attention));
  });

  it('linear needs one call for a whole sequence: dt = 1, A = 0', () => {
    const [tokens, dk, dv] = [6, 4, 3];
    const attention = make({ shape: [1, tokens, 1, 1, dk, dv], scale: 1 });
    const { y, h } = selectiveScan({
      u: f32(attention.value, tokens, dv),
      dt: f32(new Float32Array(tokens * dv).fill(1), tokens, dv),
      A: f32(new Float32Array(dv * dk), dv, dk),
      B: f32(attention.key, tokens, dk),
      C: f32(attention.query, tokens, dk),
    });
    agree({ output: y.data, state: transpose(h.data, dv, dk) }, onnxAttention(attention));
  });
});
