/**
 * From a folder of files to a model that writes: reads a checkpoint (Hugging Face, state-spaces, or one made by
 * `quamba quantize`), applies a recipe, and gives sessions.
 *
 * Files it knows, all in one folder:
 *   config.json, model.safetensors (or shards with their index), tokenizer.json, tokenizer_config.json
 *   model.safetensors or plan.<recipe>.safetensors    a quantized checkpoint: loads as it is
 *   stats.<recipe>.safetensors                        what calibration saw: quantizes without calibrating again
 */
import { type Backend, prepare } from '../backends/backend.ts';
import { backend as backendOf, defaultBackend } from '../backends/index.ts';
import type { Executable } from '../executable.ts';
import { type Folder, using } from '../formats/bytes.ts';
import { readJson } from '../formats/json.ts';
import { createTokenizer, type Tokenizer } from '../formats/tokenizer.ts';
import { hasWeights, openWeights } from '../formats/weights.ts';
import type { Program } from '../graph.ts';
import { checkWeights, type MambaConfig, parseConfig } from '../model/config.ts';
import { mamba } from '../model/mamba.ts';
import { once } from '../once.ts';
import { identity } from '../plan/identity.ts';
import { calibrate, needsCalibration, type Progress } from '../quant/calibrate.ts';
import { type CalibrationInfo, isPlan, loadPlan, type PlanInfo } from '../quant/checkpoint.ts';
import type { Stats } from '../quant/lower.ts';
import { planOf, samplesOf } from '../quant/pipeline.ts';
import { DEFAULT_RECIPE, FLOAT_RECIPE, recipe as recipeOf } from '../quant/recipes.ts';
import type { Recipe } from '../quant/scheme.ts';
import { loadStats } from '../quant/stats-file.ts';
import { createSession, type Session } from '../session.ts';
import { type GenerateOptions, generate } from '../text/generate.ts';

export const CALIBRATION_DEFAULTS = { samples: 128, window: 512 } as const;

export interface CalibrationText {
  /** How it is called in the checkpoint and in errors. */
  readonly name: string;
  read(): Promise<string>;
}

export interface ModelOptions {
  /**
   * A row of the recipe table, or a recipe of your own. Default: the recipe of a quantized checkpoint; `quamba` where the
   * folder holds its plan or statistics; else fp32, since calibrating takes long.
   */
  readonly recipe?: string | { readonly name: string; readonly scheme: Recipe };
  /** Default: wasm, where the engine can run it. The reference gives the same bits, slowly. */
  readonly backend?: string | Backend;
  /** How many threads share the work, 1 by default. The bits do not depend on it. */
  readonly threads?: number;
  /** The text that static scales are taken from, where the folder holds no statistics. */
  readonly text?: CalibrationText;
  /** How many samples of how many tokens. Given, they calibrate anew. Default: 128 × 512. */
  readonly samples?: number;
  readonly window?: number;
  /** Calibrate even where the folder holds statistics or a plan. */
  readonly recalibrate?: boolean;
  readonly onProgress?: Progress;
}

export interface Model {
  readonly name: string;
  readonly backend: string;
  /** What runs the plan; `executable.about` tells its kernels, threads and memory. */
  readonly executable: Executable;
  readonly info: PlanInfo;
  /** The fused plan, or the float graph where the recipe quantizes nothing. */
  readonly plan: Program;
  /** Where the folder has no tokenizer.json it knows ids only: every text is empty, and encoding one is an error. */
  readonly tokenizer: Tokenizer;
  session(): Session;
  /** Writes on from a prompt (text, or token ids) in a new session. */
  generate(prompt: string | ArrayLike<number>, options?: GenerateOptions): ReturnType<typeof generate>;
  dispose(): void;
}

/** A float checkpoint, its weights unread. */
export interface FloatModel {
  readonly config: MambaConfig;
  readonly program: Program;
  /** Names of tensors that the model does not use. */
  readonly unused: readonly string[];
  identity(): string;
  /** Closes the files; weights that were not read yet cannot be any more. */
  close(): void;
}

/** @throws Error naming the file and the field or tensor that is wrong. */
export function openFloatModel(folder: Folder): FloatModel {
  const source = openWeights(folder);
  const { config, unused } = checkWeights(
    parseConfig(readJson(folder, 'config.json'), `${folder.name}/config.json`),
    source,
  );
  const graph = mamba(config);
  return {
    config,
    program: { graph, weights: source },
    unused,
    identity: once(() => identity(source, graph.weights, config)),
    close: () => source.close(),
  };
}

/** @throws Error, RangeError or TypeError in one sentence that names what is wrong and where. */
export async function openModel(folder: Folder, options: ModelOptions = {}): Promise<Model> {
  const backend =
    typeof options.backend === 'object' ? options.backend : backendOf(options.backend ?? defaultBackend());
  const { plan, info, close } = readyPlan(folder, options) ?? (await makePlan(folder, options, backend));
  const executable = prepare(backend, plan, options);
  try {
    await executable.ready;
  } catch (error) {
    executable.dispose?.();
    close();
    throw error;
  }
  const vocabSize = info.config.vocabSize;
  const runnable = {
    program: plan,
    executable,
    vocabSize,
    name: `${folder.name} as ${info.recipe.name}`,
    identity: once(() => identity(plan.weights, plan.graph.weights, [info.recipe.scheme, info.source])),
  };
  const tokenizer = once(() => openTokenizer(folder, info.config));
  return {
    name: folder.name,
    backend: backend.name,
    executable,
    info,
    plan,
    get tokenizer() {
      return tokenizer();
    },
    session: () => createSession(runnable),
    generate: (prompt, generateOptions) =>
      writing(createSession(runnable), tokenizer(), prompt, generateOptions),
    dispose() {
      executable.dispose?.();
      close();
    },
  };
}

/** `generate` in a session of its own, which is closed when the writing ends or is left. */
async function* writing(...given: Parameters<typeof generate>): ReturnType<typeof generate> {
  try {
    return yield* generate(...given);
  } finally {
    given[0].close();
  }
}

/** Where there is no tokenizer.json, one that refuses texts. */
export function openTokenizer(folder: Folder, config: MambaConfig): Tokenizer {
  const files = folder.list();
  if (!files.includes('tokenizer.json')) return idsOnly(folder, config);
  const about = files.includes('tokenizer_config.json')
    ? readJson(folder, 'tokenizer_config.json')
    : undefined;
  return createTokenizer(readJson(folder, 'tokenizer.json'), about, `${folder.name}/tokenizer.json`);
}

/** What a model without tokenizer.json has: it can be fed ids and gives ids. */
const idsOnly = (folder: Folder, { vocabSize, eosTokenId }: MambaConfig): Tokenizer => ({
  vocabSize,
  eosTokenId,
  encode() {
    throw new Error(`${folder.name}: has no tokenizer.json; give token ids instead of a text`);
  },
  decode: () => '',
  stream: () => ({ push: () => '', end: () => '' }),
});

interface OpenPlan {
  readonly plan: Program;
  readonly info: PlanInfo;
  close(): void;
}

/** Whether static scales are to be measured, whatever the folder holds. */
const anew = ({ recalibrate, samples, window }: ModelOptions): boolean =>
  recalibrate === true || samples !== undefined || window !== undefined;

/** The plan that the folder holds ready, if it fits what was asked for. */
function readyPlan(folder: Folder, options: ModelOptions): OpenPlan | undefined {
  const files = folder.list();
  const quantized = files.includes('model.safetensors') && using(folder, 'model.safetensors', isPlan);
  const asked = options.recipe === undefined ? undefined : named(options.recipe);
  const file = quantized ? 'model.safetensors' : `plan.${(asked ?? defaultRecipe(folder)).name}.safetensors`;
  if (!files.includes(file) || (!quantized && anew(options))) return undefined;

  const source = folder.open(file);
  try {
    const { plan, info } = loadPlan(source);
    checkSameModel(folder, info, file, quantized || !hasWeights(folder));
    const scheme = (asked ?? info.recipe).scheme;
    if (JSON.stringify(scheme) === JSON.stringify(info.recipe.scheme))
      return { plan, info, close: () => source.close() };
    if (quantized)
      throw new Error(
        `${folder.name}/${file}: is quantized by recipe ${info.recipe.name}; for ${asked?.name} give the folder of the float model`,
      );
  } catch (error) {
    source.close();
    throw error;
  }
  source.close();
  return undefined;
}

/** A plan made for another model says so before it says anything else. `alone`: the float weights are not beside it. */
function checkSameModel(folder: Folder, { config, source }: PlanInfo, file: string, alone: boolean): void {
  const where = `${folder.name}/${file}`;
  if (!folder.list().includes('config.json')) return;
  const beside = parseConfig(readJson(folder, 'config.json'), `${folder.name}/config.json`);
  for (const key of ['layers', 'dModel', 'dInner', 'dState', 'dConv', 'dtRank'] as const)
    if (beside[key] !== config[key])
      throw new Error(
        `${where}: was made for a model with ${key} ${config[key]}; config.json says ${beside[key]}`,
      );
  if (alone) return;
  const model = openFloatModel(folder);
  const found = model.identity();
  model.close();
  if (found !== source)
    throw new Error(
      `${where}: was made for other weights (${source.slice(0, 12)}) than those beside it (${found.slice(0, 12)})`,
    );
}

async function makePlan(folder: Folder, options: ModelOptions, backend: Backend): Promise<OpenPlan> {
  const recipe = options.recipe === undefined ? defaultRecipe(folder) : named(options.recipe);
  const model = openFloatModel(folder);
  const needed = needsCalibration(model.program, recipe.scheme);
  const found = needed ? await statsOf(folder, model, recipe, options, backend) : undefined;
  const plan = planOf(model.program, recipe.scheme, found?.stats);
  const info = {
    config: model.config,
    recipe,
    source: model.identity(),
    calibration: found?.calibration ?? null,
  };
  return { plan, info, close: model.close };
}

/** Statistics from the folder, or else from a calibration run. */
async function statsOf(
  folder: Folder,
  { config, program, identity: source }: FloatModel,
  recipe: { readonly name: string; readonly scheme: Recipe },
  options: ModelOptions,
  backend: Backend,
): Promise<{ readonly stats: Stats; readonly calibration: CalibrationInfo }> {
  const file = `stats.${recipe.name}.safetensors`;
  if (!anew(options) && folder.list().includes(file))
    return using(folder, file, found => loadStats(found, { recipe: recipe.scheme, source: source() }));
  const { text, samples, window, onProgress } = options;
  if (!folder.list().includes('tokenizer.json'))
    throw new Error(
      `${folder.name}: recipe ${recipe.name} has static scales, and to calibrate them on a text takes a tokenizer.json; there is none`,
    );
  if (!text)
    throw new Error(`${folder.name}: recipe ${recipe.name} needs a calibration text (it has static scales)`);
  const calibration = {
    text: text.name,
    samples: samples ?? CALIBRATION_DEFAULTS.samples,
    window: window ?? CALIBRATION_DEFAULTS.window,
  };
  const tokens = openTokenizer(folder, config).encode(await text.read());
  const stats = calibrate(
    program,
    recipe.scheme,
    samplesOf(tokens, calibration.samples, calibration.window),
    {
      prepare: part => prepare(backend, part, options),
      onProgress,
    },
  );
  return { stats, calibration };
}

const named = (recipe: NonNullable<ModelOptions['recipe']>) =>
  typeof recipe === 'string' ? { name: recipe, scheme: recipeOf(recipe) as Recipe } : recipe;

/** What a float model is run as where nothing is said. */
function defaultRecipe(folder: Folder): ReturnType<typeof named> {
  const ready = ['plan', 'stats'].map(kind => `${kind}.${DEFAULT_RECIPE}.safetensors`);
  return named(ready.some(file => folder.list().includes(file)) ? DEFAULT_RECIPE : FLOAT_RECIPE);
}
