/**
 * The steps from int8 with one scale a tensor to the finest static recipe for Mamba-2, one after the other: what each brings that
 * the paper's two techniques leave. Each rung is the one before with one thing changed.
 *
 * Its rungs are those at which Quamba2 (arXiv 2503.22879) and its successors stop: B and C by groups, then by state, then x by channel.
 */
import { a8, channels, clip, hadamard, type Recipe, w8, w8rows } from '../quant/scheme.ts';
import type { Fidelity, FloatReference } from './fidelity.ts';

export interface Rung {
  readonly name: string;
  readonly recipe: Recipe;
}

/** States of a group that share a step, as Quamba2 groups them in a model whose heads share B and C. */
const GROUP = 32;

/** @param p of the rungs that clip. */
export function rungs(p: number): readonly Rung[] {
  const base: Recipe = { weights: w8, acts: a8 };
  const scanIn = clip(p);
  const both = { scanIn, scanOut: hadamard };
  const groups = { basis: { channels: GROUP } } as const;
  const byGroup = { ...both, B: groups, C: groups };
  const byState = { ...both, B: channels, C: channels };
  const byChannel = { ...byState, scanIn: { ...scanIn, ...channels } };
  const every = { ...byChannel, gate: channels, convIn: channels, dt: channels };
  const rung = (name: string, recipe: Recipe): Rung => ({ name, recipe });
  return [
    rung('int8, a scale for each tensor', base),
    rung('x clipped', { ...base, at: { scanIn } }),
    rung("out_proj's input rotated", { ...base, at: { scanOut: hadamard } }),
    rung('both', { ...base, at: both }),
    rung(`+ B and C: a scale for ${GROUP} states`, { ...base, at: byGroup }),
    rung('+ B and C: a scale for each state', { ...base, at: byState }),
    rung('+ x: a scale for each channel', { ...base, at: byChannel }),
    rung('+ all that in_proj gives: a scale for each channel', { ...base, at: every }),
    rung('+ weights: a scale for each row', { weights: w8rows, acts: a8, at: every }),
    rung('+ the residual stream rotated', { weights: w8rows, acts: a8, at: every, residual: 'hadamard' }),
  ];
}

export interface LadderRow extends Fidelity {
  readonly name: string;
}
export interface Ladder {
  readonly p: number;
  readonly predictions: number;
  readonly rows: readonly LadderRow[];
}

/** Takes a pass over the samples for each basis: none, rotated, and both with the residual stream rotated. */
export function measureLadder(reference: FloatReference, samples: readonly Int32Array[], p: number): Ladder {
  const all = rungs(p);
  const compared = reference.compareEach(
    all.map(({ recipe }) => recipe),
    samples,
  );
  const rows = all.map(({ name }, i): LadderRow => ({ name, ...compared[i].fidelity }));
  return { p, predictions: reference.predictions, rows };
}
