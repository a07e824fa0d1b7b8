/** y rotated, and out_proj of it in int8 against float32, as it is and rotated. By the real ops. */
import * as comlink from 'comlink';
import type { Shape } from 'lib/eval/moments.ts';
import { ops, type Tensor } from 'quamba';
import { type Rounding, relativeError, rounding, shapeOf } from '../measures.ts';
import { cut } from './cut.ts';
import { linearInt8, scaleOf } from './int8.ts';

type F32 = Tensor<'f32'>;

/** How values spread, and what int8 makes of them with one scale. */
export type Spread = Shape & Rounding;

export interface Rotated {
  /** Q y. */
  readonly turned: Float32Array;
  /** Of y and of Q y. */
  readonly spreads: readonly [before: Spread, after: Spread];
  /** Of every third token, so that it is there soon. */
  readonly tokens: readonly number[];
  readonly plain: Errors;
  readonly rotated: Errors;
}
/** Relative L2 errors. */
export interface Errors {
  readonly all: number;
  readonly each: readonly number[];
}
const STEP = 3;

const spreadOf = (x: F32): Spread => ({
  ...shapeOf(x.data),
  ...rounding(x.data, scaleOf(x).data, 'static'),
});

const api = {
  rotate(y: F32, outWeight: F32): Rotated {
    const rows = Math.floor(y.shape[0] / STEP);
    const turned = ops.fwht({ x: y }).y;
    const few = (x: F32) => cut(x, { rows, step: STEP });
    const exact = ops.linear({ x: few(y), w: outWeight }).y;
    const tokens = Array.from({ length: rows }, (_, t) => t);
    const errorsOf = ({ data }: F32): Errors => {
      const row = (values: Float32Array, t: number) =>
        values.subarray(t * exact.shape[1], (t + 1) * exact.shape[1]);
      return {
        all: relativeError(data, exact.data),
        each: tokens.map(t => relativeError(row(data, t), row(exact.data, t))),
      };
    };
    return {
      turned: turned.data,
      spreads: [spreadOf(y), spreadOf(turned)],
      tokens: tokens.map(t => t * STEP),
      plain: errorsOf(linearInt8(few(y), outWeight, scaleOf(y))),
      rotated: errorsOf(linearInt8(few(turned), ops.fwht({ x: outWeight }).y, scaleOf(turned))),
    };
  },
};
export type RotateWorker = typeof api;
comlink.expose(api);
