/**
 * Where the parts of a block stand in its picture. Only the places are laid out by hand: what reads what comes from the model's
 * graph (block-graph.ts), which complains of a part that has no place.
 */
export interface Place {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Lines of text; none for a site, which is a button. */
  readonly label: readonly string[];
}

export const WIDTH = 380;
export const HEIGHT = 930;
export const SITE_HEIGHT = 26;

const box = (x: number, y: number, width: number, ...label: string[]): Place => ({
  x,
  y,
  width,
  height: label.length > 1 ? 48 : 30,
  label,
});
const site = (x: number, y: number, width = 42): Place => ({ x, y, width, height: SITE_HEIGHT, label: [] });

/** By the name of the value that the part writes. `input` is the residual stream that comes in. */
export const PLACES: Readonly<Record<string, Place>> = {
  input: box(140, 22, 200, 'h, the residual stream'),
  normed: box(140, 76, 120, 'RMS norm'),
  blockIn: site(140, 122, 76),
  xz: box(200, 170, 320, 'in_proj'),
  convIn: site(90, 220),
  gate: site(340, 220),
  conv: box(90, 270, 146, 'conv1d, SiLU'),
  scanIn: site(90, 320),
  dtBC: box(212, 370, 150, 'x_proj'),
  dtLow: site(160, 420),
  B: site(222, 420),
  C: site(272, 420),
  dtRaw: box(160, 470, 100, 'dt_proj'),
  dt: site(160, 518),
  dtPositive: box(160, 566, 100, 'softplus'),
  y: box(200, 626, 340, 'selective scan and gate', 'h ← exp(ΔA) h + ΔB u,  y = (C h + D u) · SiLU(z)'),
  rotation: box(200, 684, 120, 'Hadamard'),
  scanOut: site(200, 732),
  out: box(200, 780, 120, 'out_proj'),
  h: box(140, 832, 200, '+'),
  headIn: site(262, 900, 84),
};

/** Pills beside the part that carries a state. */
export const STATES = {
  convState: { of: 'conv', x: 240, y: 270, label: 'state d × 3' },
  ssmState: { of: 'y', x: 318, y: 684, label: 'state d × 16' },
} as const;
