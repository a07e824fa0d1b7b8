/**
 * Quantized checkpoints: a plan as one safetensors file, so that it loads without calibrating again.
 *
 * The tensors are the plan's constants by name: I8 weights, F32 scales, and float weights as F16 where that is exact.
 * The metadata holds, as JSON strings: `format` and `version`; `config` (of the model); `recipe` { name, scheme };
 * `source` (identity of the float weights); `calibration` (what the ranges were taken from, or null); `graph` (the fused
 * plan, see plan/graph-json.ts); `identity` (of the constants and these five texts); `sha256` (of all bytes of the constants, in
 * the graph's order).
 */
import { type ByteSource, bytesOf } from '../formats/bytes.ts';
import { fitsF16 } from '../formats/half.ts';
import { count, isSize, number, object, parseJsonText, plain, show, string } from '../formats/json.ts';
import { DTYPES, readSafetensors, type SafetensorsFile, writeSafetensors } from '../formats/safetensors.ts';
import { type Program, type Ref, type Weights, weightsOf } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { graphFromJson, graphToJson } from '../plan/graph-json.ts';
import { hasher, identity } from '../plan/identity.ts';
import { verify } from '../plan/verify.ts';
import { describe, type TensorType } from '../tensor.ts';
import { parseRecipe, type Recipe } from './scheme.ts';
import { type CalibrationInfo, calibrationFrom } from './stats.ts';

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
  const graph = graphToJson(plan.graph);
  const refs = [...graphFromJson(graph, 'plan').weights.keys()]; // as a reader has them: an object puts names like '7' first
  const weights = weightsOf(new Map(refs.map(ref => [ref, plan.weights.read(ref)])));
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
    graph: JSON.stringify(graph),
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
  const { name, metadata } = file;
  if (metadata.format !== PLAN_FORMAT.format)
    throw new Error(
      `${name}: is not a quantized checkpoint of quamba (no metadata format '${PLAN_FORMAT.format}')`,
    );
  if (metadata.version !== PLAN_FORMAT.version)
    throw new Error(
      `${name}: plan format version ${plain(metadata.version ?? 'nothing')} is not known; this quamba reads version ${PLAN_FORMAT.version}`,
    );
  const parsed = (key: string) => parseJsonText(metadata[key] ?? '', `${name}: metadata ${key}`);
  const config = configOf(parsed('config'), `${name}: config`);
  const recipe = object(parsed('recipe'), `${name}: recipe`);
  const calibration = parsed('calibration');
  const info = {
    config,
    recipe: {
      name: string(recipe.name, `${name}: recipe.name`),
      scheme: parseRecipe(recipe.scheme, `${name}: recipe.scheme`),
    },
    source: string(metadata.source, `${name}: source`),
    calibration: calibration === null ? null : calibrationFrom(calibration, `${name}: calibration`),
  };
  const graph = graphFromJson(parsed('graph'), `${name}: graph`);
  for (const [ref, type] of graph.weights) checkHeader(file, ref, type);
  const plan = verify({ graph, weights: file }, `${name}: graph`, config.vocabSize);
  const about = Object.fromEntries(ABOUT.map(key => [key, metadata[key]]));
  if (identity(plan.weights, graph.weights.keys(), about) !== metadata.identity)
    throw new Error(`${name}: has changed since it was saved (identity differs)`);
  return { plan, info };
}

/** The metadata that belong to a plan's identity, in their order there. */
const ABOUT = ['config', 'recipe', 'source', 'calibration', 'graph'];

export const isPlan = (source: ByteSource): boolean =>
  readSafetensors(source).metadata.format === PLAN_FORMAT.format;

/** Whether every byte of a plan's constants is as it was saved. This reads the whole file. */
export function verifyPlan(source: ByteSource): boolean {
  const { plan } = loadPlan(source);
  return fullHash(plan.graph.weights.keys(), plan.weights) === readSafetensors(source).metadata.sha256;
}

function configOf(json: unknown, where: string): Config {
  const config = object(json, where);
  string(config.architecture, `${where}.architecture`);
  for (const key of ['layers', 'vocabSize']) count(config[key], `${where}.${key}`);
  for (const end of [config.eosTokenId ?? []].flat()) number(end, `${where}.eosTokenId`, 'a token', isSize);
  return config as unknown as Config;
}

/** What the file says of a tensor is what the graph says of it. */
function checkHeader(file: SafetensorsFile, ref: Ref, type: TensorType): void {
  const where = `${file.name}: tensor ${show(ref)} of the plan`;
  const stored = file.tensors.get(ref);
  if (!stored) throw new Error(`${where} is missing`);
  const dtype = (DTYPES as Readonly<Record<string, string>>)[stored.dtype] ?? stored.dtype;
  const got = describe({ dtype, shape: stored.shape });
  if (got !== describe(type)) throw new Error(`${where} expected ${describe(type)}; got ${got}`);
}

function fullHash(refs: Iterable<Ref>, weights: Weights): string {
  const hash = hasher();
  for (const ref of refs) hash.update(bytesOf(weights.read(ref).data));
  return hash.hex();
}
