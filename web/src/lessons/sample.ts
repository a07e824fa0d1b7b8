/** What one block of the embedded model computed for a short text (scripts/web-samples.mjs), by the names of src/model/mamba.ts. */
import { fetchFiles, fromBytes, ops, readSafetensors, type Tensor } from 'quamba';
import { SITE } from '../header.ts';

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
  /** After softplus. */
  readonly dt: F32;
  readonly B: F32;
  readonly C: F32;
  /** −exp(A_log) f32[d, n]. */
  readonly A: F32;
  readonly D: F32;
  /** The first rows of out_proj's weight, f32[64, d]. */
  readonly outWeight: F32;
}

const SAMPLES = new URL('samples/', SITE);

/** @throws Error naming the file that could not be fetched. */
export async function fetchSample(): Promise<Sample> {
  const files = await fetchFiles(SAMPLES, ['layer.safetensors', 'layer.json'], { cache: false });
  const { layer, tokens } = JSON.parse(new TextDecoder().decode(files['layer.json']));
  const tensors = readSafetensors(fromBytes('layer.safetensors', files['layer.safetensors']));
  const read = (name: string) => tensors.read(name) as F32;
  const dtRaw = ops.linear({ x: read('dtLow'), w: read('dtWeight'), b: read('dtBias') }).y;
  const [u, z, y, B, C, D, outWeight] = ['u', 'z', 'y', 'B', 'C', 'D', 'outWeight'].map(read);
  return {
    ...{ layer, tokens, u, z, y, B, C, D, outWeight },
    dt: ops.softplus({ x: dtRaw }).y,
    A: ops.negExp({ x: read('ALog') }).y,
  };
}

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

/** The first `rows` rows (or every `step`-th) of a matrix, and of them the columns from `begin` to `end`. */
export function cut(
  { shape: [l, n], data }: F32,
  {
    rows = l,
    step = 1,
    begin = 0,
    end = n,
  }: { readonly rows?: number; readonly step?: number; readonly begin?: number; readonly end?: number } = {},
): F32 {
  const width = end - begin;
  const made = new Float32Array(rows * width);
  for (let t = 0; t < rows; t++) made.set(data.subarray(t * step * n + begin, t * step * n + end), t * width);
  return { dtype: 'f32', shape: [rows, width], data: made };
}
