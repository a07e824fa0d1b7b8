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
export const fetchSample = (): Promise<Sample> => fetchLayer('layer');

/** @throws Error naming the file that could not be fetched. */
export const fetchSsdSample = (): Promise<SsdSample> => fetchLayer('ssd');

async function fetchLayer<S extends Sample | SsdSample>(name: string): Promise<S> {
  const [json, values] = [`${name}.json`, `${name}.safetensors`];
  const files = await fetchFiles(SAMPLES, [json, values], { cache: false });
  const tensors = readSafetensors(fromBytes(values, files[values]));
  const read = Object.fromEntries([...tensors.tensors.keys()].map(key => [key, tensors.read(key)]));
  return { ...JSON.parse(new TextDecoder().decode(files[json])), ...read };
}

/** The same of a block of the embedded model's sibling of Mamba-2, by the names of src/model/mamba2.ts. */
export interface SsdSample {
  readonly layer: number;
  readonly tokens: readonly string[];
  /** The scan's input f32[l, h·p], and the gate of the norm. */
  readonly x: F32;
  readonly z: F32;
  /** Of one group. */
  readonly B: F32;
  readonly C: F32;
  /** f32[l, h], before its bias and softplus. */
  readonly dt: F32;
  readonly bias: F32;
  /** f32[h]. */
  readonly ALog: F32;
  readonly D: F32;
  /** The weight of the gated norm f32[d]. */
  readonly norm: F32;
  /** The first rows of out_proj's weight, f32[64, d]. */
  readonly outWeight: F32;
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
