/**
 * Quantized checkpoints: a plan as one safetensors file, so that it loads without calibrating again.
 *
 * The tensors are the plan's constants by name: I8 weights, F32 scales, and float weights as F16 where that is exact.
 * The metadata holds, as JSON strings: `format` and `version`; `config` (of the model); `recipe` { name, scheme };
 * `source` (identity of the float weights); `calibration` (what the ranges were taken from, or null); `graph` (the fused
 * plan, see plan/graph-json.ts); `identity` (of the constants and these five texts); `sha256` (of all bytes of the constants, in
 * the graph's order).
 */
import type { ByteSource } from '../formats/bytes.ts';
import { fitsF16 } from '../formats/half.ts';
import { show } from '../formats/json.ts';
import { DTYPES, readSafetensors, type SafetensorsFile, writeSafetensors } from '../formats/safetensors.ts';
import { type Program, type Weights, weightsOf } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { graphFromJson, graphToJson } from '../plan/graph-json.ts';
import { bytesOf, hasher, identity } from '../plan/identity.ts';
import { describe, type Tensor } from '../tensor.ts';
import { parseRecipe, type Recipe } from './scheme.ts';
import type { CalibrationInfo } from './stats.ts';

export const PLAN_FORMAT = { format: 'quamba-plan', version: '2' } as const;

/** What a plan file says of a plan beside its graph and constants. */
export interface PlanInfo {
  readonly config: Config;
  readonly recipe: { readonly name: string; readonly scheme: Recipe };
  /** The identity of the float weights that the plan was made from. */
  readonly source: string;
  readonly calibration: CalibrationInfo | null;
}

/** The file of a plan, in pieces. */
export function savePlan(plan: Program, info: PlanInfo): Iterable<Uint8Array> {
  const { graph } = plan;
  const weights = inMemory(plan);
  const refs = [...graph.weights.keys()];
  const tensors = refs.map(ref => {
    const t = weights.read(ref);
    const half = t.dtype === 'f32' && fitsF16(t.data as Float32Array);
    const dtype = t.dtype === 'i8' ? 'I8' : t.dtype === 'i32' ? 'I32' : half ? 'F16' : 'F32';
    return [ref, { ...t, dtype }] as const;
  });
  const about = {
    config: JSON.stringify(info.config),
    recipe: JSON.stringify(info.recipe),
    source: info.source,
    calibration: JSON.stringify(info.calibration),
    graph: JSON.stringify(graphToJson(graph)),
  };
  return writeSafetensors(tensors, {
    ...PLAN_FORMAT,
    ...about,
    identity: identity(weights, refs, about),
    sha256: fullHash(refs, weights),
  });
}

/**
 * Reads a plan. All of it is checked before anything is returned, but for `sha256` (see `verifyPlan`). Weights are read from
 * the source when they are asked for, so that a large plan is never in memory whole. The source must stay open as long.
 *
 * @throws Error naming the file and the field, tensor or version that is wrong.
 */
export function loadPlan(source: ByteSource): { readonly plan: Program; readonly info: PlanInfo } {
  const file = readSafetensors(source);
  if (file.metadata.format !== PLAN_FORMAT.format)
    throw new Error(
      `${file.name}: is not a quantized checkpoint of quamba (no metadata format '${PLAN_FORMAT.format}')`,
    );
  const { version } = file.metadata;
  if (version !== PLAN_FORMAT.version)
    throw new Error(
      `${file.name}: plan format version ${version} is not known; this quamba reads version ${PLAN_FORMAT.version}`,
    );
  const graph = graphFromJson(field(file, 'graph'), `${file.name}: graph`);
  for (const [ref, type] of graph.weights) {
    const where = `${file.name}: tensor ${show(ref)} of the plan`;
    const stored = file.tensors.get(ref);
    if (!stored) throw new Error(`${where} is missing`);
    const { shape } = stored;
    const dtype = DTYPES[stored.dtype as keyof typeof DTYPES] ?? stored.dtype;
    if (describe({ dtype, shape }) !== describe(type))
      throw new Error(`${where} expected ${describe(type)}; got ${describe({ dtype, shape })}`);
  }
  const recipe = field(file, 'recipe') as PlanInfo['recipe'];
  parseRecipe(recipe?.scheme, `${file.name}: recipe.scheme`);
  const info = {
    config: field(file, 'config') as Config,
    recipe,
    source: file.metadata.source,
    calibration: field(file, 'calibration') as CalibrationInfo | null,
  };
  const weights: Weights = { has: ref => file.tensors.has(ref), read: ref => file.read(ref) };
  const about = Object.fromEntries(ABOUT.map(key => [key, file.metadata[key]]));
  if (identity(weights, graph.weights.keys(), about) !== file.metadata.identity)
    throw new Error(`${file.name}: has changed since it was saved (identity differs)`);
  return { plan: { graph, weights }, info };
}

/** The metadata that belong to a plan's identity, in their order there. */
const ABOUT = ['config', 'recipe', 'source', 'calibration', 'graph'] as const;

export const isPlan = (source: ByteSource): boolean =>
  readSafetensors(source).metadata.format === PLAN_FORMAT.format;

/** Whether every byte of a plan's constants is as it was saved. This reads the whole file. */
export function verifyPlan(source: ByteSource): boolean {
  const { plan } = loadPlan(source);
  return fullHash(plan.graph.weights.keys(), plan.weights) === readSafetensors(source).metadata.sha256;
}

function field(file: SafetensorsFile, key: string): unknown {
  try {
    return JSON.parse(file.metadata[key]);
  } catch {
    throw new Error(
      `${file.name}: metadata ${key} expected JSON; got ${JSON.stringify(file.metadata[key])?.slice(0, 80)}`,
    );
  }
}

const inMemory = ({ graph, weights }: Program): Weights =>
  weightsOf(new Map<string, Tensor>([...graph.weights.keys()].map(ref => [ref, weights.read(ref)])));

function fullHash(refs: Iterable<string>, weights: Weights): string {
  const hash = hasher();
  for (const ref of refs) hash.update(bytesOf(weights.read(ref)));
  return hash.hex();
}
