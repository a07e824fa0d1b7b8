/** What one block of the embedded model computed for a short text (scripts/web-samples.mjs), by the names of src/model/mamba.ts. */
import { fetchFiles, fromBytes, ops, readSafetensors, type Tensor } from 'quamba';
import { SAMPLES } from '../site.ts';
import { cut } from './cut.ts';

type F32 = Tensor<'f32'>;

export interface Sample {
  /** Which block. */
  readonly layer: number;
  /** The text, cut in tokens. */
  readonly tokens: readonly string[];
  /** The scan's input f32[l, d], its gate, and what it wrote. */
  readonly u: F32;
  readonly z: F32;
  readonly y: F32;
  readonly B: F32;
  readonly C: F32;
  readonly D: F32;
  /** What Δ is made of: see stepsOf. */
  readonly dtLow: F32;
  readonly dtWeight: F32;
  readonly dtBias: F32;
  /** See decaysOf. */
  readonly ALog: F32;
  /** The first rows of out_proj's weight, f32[64, d]. */
  readonly outWeight: F32;
}

/** @throws Error naming the file that could not be fetched. */
export async function fetchSample(): Promise<Sample> {
  const files = await fetchFiles(SAMPLES, ['layer.safetensors', 'layer.json'], { cache: false });
  const { layer, tokens } = JSON.parse(new TextDecoder().decode(files['layer.json']));
  const tensors = readSafetensors(fromBytes('layer.safetensors', files['layer.safetensors']));
  const read = (name: string) => tensors.read(name) as F32;
  const names = ['u', 'z', 'y', 'B', 'C', 'D', 'dtLow', 'dtWeight', 'dtBias', 'ALog', 'outWeight'] as const;
  const values = Object.fromEntries(names.map(name => [name, read(name)]));
  return { layer, tokens, ...(values as Record<(typeof names)[number], F32>) };
}

/** Δ of the first `rows` tokens, after softplus, of the channels from `begin` to `end`. */
export function stepsOf({ dtLow, dtWeight, dtBias }: Sample, rows: number, begin: number, end: number): F32 {
  const w = cut(dtWeight, { first: begin, rows: end - begin });
  const x = ops.linear({ x: cut(dtLow, { rows }), w, b: dtBias.data.slice(begin, end) }).y;
  return ops.softplus({ x }).y;
}

/** A = −exp(A_log) f32[d, n], of the channels from `begin` to `end`. */
export const decaysOf = ({ ALog }: Sample, begin: number, end: number): F32 =>
  ops.negExp({ x: cut(ALog, { first: begin, rows: end - begin }) }).y;

/** The plans of three recipes, cut to their first block. */
export interface PlanRow {
  readonly value: string;
  readonly type: string;
  readonly op: string;
  readonly fused?: { readonly name: string; readonly node: number };
  readonly inputs: Readonly<Record<string, string>>;
  readonly scalars: Readonly<Record<string, number>>;
  /** The shapes of those inputs that are constants. */
  readonly constants: Readonly<Record<string, readonly number[]>>;
}
export interface BlockPlan {
  /** The titles, then a line for each row. */
  readonly lines: readonly string[];
  readonly rows: readonly PlanRow[];
}

/** @throws Error naming the file that could not be fetched. */
export async function fetchPlans(): Promise<Readonly<Record<string, BlockPlan>>> {
  const files = await fetchFiles(SAMPLES, ['plans.json'], { cache: false });
  return JSON.parse(new TextDecoder().decode(files['plans.json']));
}
