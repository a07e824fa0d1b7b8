/** The scan of a Mamba-2 block, head by head, by the real op. */
import { ops, type Tensor } from 'quamba';
import { cut } from './cut.ts';
import type { SsdSample } from './sample.ts';

type F32 = Tensor<'f32'>;

/** A part of a sample's heads and tokens, as the scan takes it. */
export interface Heads {
  /** f32[l, h], before bias and softplus. */
  readonly dt: F32;
  readonly x: F32;
  /** −exp(A_log), f32[h, 1]. */
  readonly A: F32;
  readonly B: F32;
  readonly C: F32;
  readonly D: Float32Array;
  readonly bias: Float32Array;
}

/** All heads of the first `rows` tokens; `added` is put on the dt of each. */
export function headsOf(
  sample: SsdSample,
  rows = sample.tokens.length,
  added: (t: number) => number = () => 0,
): Heads {
  const h = sample.D.data.length;
  const dt = cut(sample.dt, { rows });
  return {
    dt: { ...dt, data: dt.data.map((value, i) => value + added(Math.floor(i / h))) },
    x: cut(sample.x, { rows }),
    A: ops.negExp({ x: { ...sample.ALog, shape: [h, 1] } }).y,
    B: cut(sample.B, { rows }),
    C: cut(sample.C, { rows }),
    D: sample.D.data,
    bias: sample.bias.data,
  };
}

/** One of the heads: its step, its p channels, and the B and C of all, which are one group. */
export function headOf({ dt, x, A, D, bias, ...rest }: Heads, head: number): Heads {
  const p = x.shape[1] / D.length;
  return {
    ...rest,
    dt: cut(dt, { begin: head, end: head + 1 }),
    x: cut(x, { begin: head * p, end: (head + 1) * p }),
    A: cut(A, { first: head, rows: 1 }),
    D: D.slice(head, head + 1),
    bias: bias.slice(head, head + 1),
  };
}

/** Δ f32[l, h], after bias and softplus. */
export function stepsOf({ dt, bias }: Heads): F32 {
  const h = bias.length;
  return ops.softplus({ x: { ...dt, data: dt.data.map((value, i) => value + bias[i % h]) } }).y;
}

/** exp(ΔA) f32[l, h]: what stays of a head's state, one number for all of it. The scan leaves it of a state of ones, without an input. */
export function decaysOf({ dt, A, bias }: Heads): F32 {
  const [l, h] = dt.shape;
  const zeros = (n: number): F32 => ({ dtype: 'f32', shape: [1, n], data: new Float32Array(n) });
  const S: F32 = { dtype: 'f32', shape: [h, 4, 1], data: new Float32Array(h * 4).fill(1) };
  const data = new Float32Array(l * h);
  for (let t = 0; t < l; t++) {
    const row = cut(dt, { first: t, rows: 1 });
    const left = ops.ssdScan({ dt: row, x: zeros(h), A, B: zeros(4), C: zeros(4), bias, S }).S;
    for (let head = 0; head < h; head++) data[t * h + head] = left.data[head * 4];
  }
  return { ...dt, data };
}

export interface HeadCourse {
  /** f32[l, h·p] */
  readonly y: F32;
  /** S after each token, f32[h, n, p]. */
  readonly states: readonly F32[];
}

/** A step is a scan of one token from the state that the one before left: the same bits as all at once. */
export function courseOf({ dt, x, B, C, ...rest }: Heads): HeadCourse {
  const [l, h] = dt.shape;
  const [n, p] = [B.shape[1], x.shape[1] / h];
  const states: F32[] = [];
  let S: F32 = { dtype: 'f32', shape: [h, n, p], data: new Float32Array(h * n * p) };
  const y = new Float32Array(x.data.length);
  const row = (of: F32, t: number) => cut(of, { first: t, rows: 1 });
  for (let t = 0; t < l; t++) {
    const step = ops.ssdScan({ dt: row(dt, t), x: row(x, t), B: row(B, t), C: row(C, t), ...rest, S });
    y.set(step.y.data, t * h * p);
    states.push((S = step.S));
  }
  return { y: { ...x, data: y }, states };
}

/** What is left, after each token from `t` on, of what token `t` wrote: the product of the decays since, for each head f32[l, h]. */
export function leftOf({ shape: [l, h], data }: F32, t: number): Float32Array {
  const left = new Float32Array(l * h);
  left.fill(1, t * h, (t + 1) * h);
  for (let i = (t + 1) * h; i < l * h; i++) left[i] = left[i - h] * data[i];
  return left;
}
