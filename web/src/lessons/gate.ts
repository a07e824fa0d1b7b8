/** What a Mamba-2 block does between scan and out_proj, and what int8 with one scale costs at each place. By the real ops. */

import type { Shape } from 'lib/eval/moments.ts';
import { ops, type Tensor } from 'quamba';
import { type Rounding, relativeError, rounding, shapeOf } from '../measures.ts';
import { cut } from './cut.ts';
import { scaleOf, throughInt8 } from './int8.ts';
import type { SsdSample } from './sample.ts';
import { headsOf } from './ssd.ts';

type F32 = Tensor<'f32'>;

/** In the order of the block: what the scan wrote, the gated norm of it, and that rotated, without the norm's weight. */
export const PLACES = ['y', 'gated', 'rotated'] as const;
export type Place = (typeof PLACES)[number];

export interface At {
  readonly values: Float32Array;
  /** How the values spread, and what int8 makes of them with one scale. */
  readonly spread: Shape & Rounding;
  /** The length of each token's row, divided by √d. */
  readonly lengths: readonly number[];
  /** The relative error of out_proj where these values were int8 and nothing else, over all tokens and of each. */
  readonly error: number;
  readonly errors: readonly number[];
}

export function gateOf(sample: SsdSample): Readonly<Record<Place, At>> {
  const { z, norm, outWeight } = sample;
  const scanned = ops.ssdScan(headsOf(sample)).y;
  const gate = (x: F32, w?: Float32Array) => ops.gatedRmsNorm({ x, z, ...(w && { w }) }).y;
  const out = (x: F32, w: F32 = outWeight) => ops.linear({ x, w }).y;
  const gated = gate(scanned, norm.data);
  const rotated = ops.fwht({ x: gate(scanned) }).y;
  // W Qᵀ with the norm's weight in it: (W diag(w)) Qᵀ · Q v = W (w v)
  const turned = ops.fwht({ x: ops.scaleChannels({ x: outWeight, c: norm.data }, { inverse: false }).y }).y;
  const exact = out(gated);
  const at = (x: F32, product: F32): At => ({
    values: x.data,
    spread: { ...shapeOf(x.data), ...rounding(x.data, scaleOf(x).data, 'static') },
    lengths: rowsOf(x).map(row => shapeOf(row).rms),
    error: relativeError(product.data, exact.data),
    errors: rowsOf(product).map((row, t) => relativeError(row, cut(exact, { first: t, rows: 1 }).data)),
  });
  return {
    y: at(scanned, out(gate(throughInt8(scanned), norm.data))),
    gated: at(gated, out(throughInt8(gated))),
    rotated: at(rotated, out(throughInt8(rotated), turned)),
  };
}

const rowsOf = (x: F32): readonly Float32Array[] =>
  Array.from({ length: x.shape[0] }, (_, t) => cut(x, { first: t, rows: 1 }).data);
