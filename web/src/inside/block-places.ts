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
export const SITE_HEIGHT = 26;

const box = (x: number, y: number, width: number, ...label: string[]): Place => ({
  x,
  y,
  width,
  height: label.length > 1 ? 48 : 30,
  label,
});
const site = (x: number, y: number, width = 42): Place => ({ x, y, width, height: SITE_HEIGHT, label: [] });

export interface Layout {
  readonly height: number;
  /** In words, from top to bottom; what is rotated by a recipe stands before out_proj. */
  readonly about: string;
  /** By the name of the value that the part writes. `input` is the residual stream that comes in. */
  readonly places: Readonly<Record<string, Place>>;
  /** Pills beside the part that carries a state. */
  readonly states: readonly {
    readonly of: string;
    readonly x: number;
    readonly y: number;
    readonly label: string;
  }[];
}

/** What all have: the residual stream and the norm that reads it. */
const above = {
  input: box(140, 22, 200, 'h, the residual stream'),
  normed: box(140, 76, 120, 'RMS norm'),
  blockIn: site(140, 122, 76),
};
/** And, from `top` on, out_proj and the sum. */
const below = (top: number) => ({
  rotation: box(200, top, 120, 'Hadamard'),
  scanOut: site(200, top + 48),
  out: box(200, top + 96, 120, 'out_proj'),
  h: box(140, top + 148, 200, '+'),
  headIn: site(262, top + 216, 84),
});

/** By family, as config.json calls it. */
export const LAYOUTS: Readonly<Record<string, Layout>> = {
  mamba: {
    height: 930,
    about:
      'A Mamba block from top to bottom: RMS norm, in_proj, which splits into x and z; conv1d and SiLU; x_proj, which makes dt, B and C; dt_proj and softplus; the selective scan, gated by z',
    places: {
      ...above,
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
      ...below(684),
    },
    states: [
      { of: 'conv', x: 240, y: 270, label: 'state d × 3' },
      { of: 'y', x: 318, y: 684, label: 'state d × 16' },
    ],
  },
  mamba2: {
    height: 794,
    about:
      'A Mamba-2 block from top to bottom: RMS norm, in_proj, which splits into x, B and C side by side, dt, and z; conv1d and SiLU of x, B and C; the SSD scan with one decay a head; the norm, gated by z',
    places: {
      ...above,
      zxBCdt: box(200, 170, 346, 'in_proj'),
      convIn: site(100, 220, 52),
      dt: site(300, 220),
      gate: site(352, 220),
      conv: box(100, 270, 146, 'conv1d, SiLU'),
      scanIn: site(50, 326),
      B: site(102, 326),
      C: site(154, 326),
      y: box(174, 392, 288, 'SSD scan', 'S ← exp(ΔA) S + B ⊗ Δx,  y = C S + D x'),
      gated: box(200, 490, 336, 'gate and RMS norm', 'v = y · SiLU(z),  g = w · v / rms(v)'),
      ...below(548),
    },
    states: [
      { of: 'conv', x: 236, y: 270, label: 'state e × 3' },
      { of: 'y', x: 84, y: 441, label: 'S, d × 128' },
    ],
  },
};
