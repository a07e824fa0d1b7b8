/** The gated MLP of today's transformers (SwiGLU, arXiv 2002.05202): W_down (silu(W_gate x) · W_up x). */
import type { Builder, Ref } from '../../graph.ts';
import { ops } from '../../ops/index.ts';
import { layerOf } from './layer.ts';

export interface Mlp {
  /** m, the width of the residual stream. */
  readonly dModel: number;
  /** f, the width between the projections. */
  readonly dMlp: number;
  readonly mlpBias: boolean;
}

/** How a checkpoint calls the projections. `gateUp` is one matrix of both, the gate's rows first. */
export type MlpNames = { readonly down: string } & (
  | { readonly gateUp: string }
  | { readonly gate: string; readonly up: string }
);

/** The activation points, in the order in which they are computed. */
export const mlpSites = [
  'mlpIn', //        norm(h)           f32[l, m]   input of the gate's projection and of the other
  'mlpProduct', //   silu(gate) · up   f32[l, f]   input of down_proj: has outliers, as the scan's output has
] as const;

/** The weights that a recipe may quantize, by role. */
export const mlpRoles = ['gateUpProj', 'downProj'] as const;

/** norm(h) f32[l, m] → f32[l, m], with the weights below `prefix`. */
export function mlp(
  g: Builder,
  prefix: string,
  names: MlpNames,
  { dModel: m, dMlp: f, mlpBias }: Mlp,
  normed: Ref,
): Ref {
  const { part, linear } = layerOf<(typeof mlpRoles)[number]>(g, prefix);
  const x = g.site('mlpIn', normed);
  const both = (of: string) => {
    const y = linear('gateUp', x, of, [2 * f, m], 'gateUpProj', mlpBias);
    return { gate: part('mlpGate', y, 0, f), up: part('mlpUp', y, f, f) };
  };
  const each = ({ gate, up }: { readonly gate: string; readonly up: string }) => ({
    gate: linear('mlpGate', x, gate, [f, m], 'gateUpProj', mlpBias),
    up: linear('mlpUp', x, up, [f, m], 'gateUpProj', mlpBias),
  });
  const product = g.op('product', ops.swiglu, 'gateUp' in names ? both(names.gateUp) : each(names));
  return linear('down', g.site('mlpProduct', product), names.down, [m, f], 'downProj', mlpBias);
}
