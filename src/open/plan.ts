/**
 * The plan of a folder under a recipe: the one that lies there ready, or one made of the float weights, with the statistics
 * that lie there or else of a calibration text.
 */
import type { Executable } from '../executable.ts';
import { type ByteSource, bytesOf, type Folder, using } from '../formats/bytes.ts';
import { object, plain, string } from '../formats/json.ts';
import { hasWeights } from '../formats/weights.ts';
import type { Program } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { once } from '../once.ts';
import { hasher } from '../plan/identity.ts';
import { calibrate, needsCalibration, type Progress, statsSizes, tokensWanted } from '../quant/calibrate.ts';
import { checkRecipe } from '../quant/check-recipe.ts';
import { isPlan, loadPlan, type PlanInfo } from '../quant/checkpoint.ts';
import { planOf, samplesOf } from '../quant/pipeline.ts';
import { DEFAULT_RECIPE, FLOAT_RECIPE, recipe as recipeOf } from '../quant/recipes.ts';
import { type Recipe, sameRecipe } from '../quant/scheme.ts';
import { type CalibrationInfo, loadStats, type Stats, type StatsInfo, saveStats } from '../quant/stats.ts';
import { fileOf } from './files.ts';
import { type FloatModel, openFloatModel, readConfig } from './float.ts';
import { openTokenizer } from './tokenizer.ts';

export const CALIBRATION_DEFAULTS = { samples: 128, window: 512 } as const;

export interface CalibrationText {
  /** How it is called in the checkpoint and in errors. */
  readonly name: string;
  read(): Promise<string>;
}

/** Where statistics are kept for the next time. What it cannot keep is measured again. A promise of `write` is waited for. */
export interface StatsCache {
  open(file: string): ByteSource | undefined;
  write(file: string, chunks: Iterable<Uint8Array>): unknown;
}

export interface PlanOptions {
  /**
   * A row of the recipe table, or a recipe of your own. Default: the recipe of a quantized checkpoint; `quamba` where the
   * folder holds its plan or statistics; else fp32, since calibrating takes long.
   */
  readonly recipe?: string | { readonly name: string; readonly scheme: Recipe };
  /** The text that static scales are taken from, where the folder holds no statistics. */
  readonly text?: CalibrationText;
  /** How many samples of how many tokens. Given, they calibrate anew. Default: 128 × 512. */
  readonly samples?: number;
  readonly window?: number;
  /** Calibrate even where the folder holds statistics or a plan. */
  readonly recalibrate?: boolean;
  readonly onProgress?: Progress;
  /** Is told, in a sentence, where the calibration text is too small for the recipe; and each note of the model. */
  readonly onWarning?: (sentence: string) => void;
  /** Keeps what calibration saw. Without one nothing is written. */
  readonly cache?: StatsCache;
}

interface OpenPlan {
  readonly plan: Program;
  readonly info: PlanInfo;
  close(): void;
}

/** How a program is prepared here, for texts of at most `context` tokens. It is asked when one is to run: for a folder that cannot be opened no thread is started. */
export type Preparing = (context?: number) => Promise<(program: Program) => Executable>;

/** Every file is opened, and config.json read, at most once. */
export async function openPlan(
  folder: Folder,
  options: PlanOptions,
  preparing: Preparing,
): Promise<OpenPlan> {
  const config = once(() => readConfig(folder));
  let opened: FloatModel | undefined;
  const float = () => (opened ??= openFloatModel(folder, config));
  try {
    const ready = readyPlan(folder, options, config, float);
    if (!ready) return await makePlan(folder, options, float(), preparing);
    opened?.close();
    return ready;
  } catch (error) {
    opened?.close();
    throw error;
  }
}

/** Checks recipes that a folder is to be run by one after the other, so that the last is not refused after the first were calibrated. */
export function checkRecipes(folder: Folder, recipes: readonly OpenPlan['info']['recipe'][]): void {
  if (!hasWeights(folder) || isQuantized(folder)) return;
  const { config, program, close } = openFloatModel(folder);
  try {
    for (const recipe of recipes) checkRecipe(recipe, config, program.graph);
  } finally {
    close();
  }
}

const isQuantized = (folder: Folder): boolean =>
  folder.list().includes('model.safetensors') && using(folder, 'model.safetensors', isPlan);

/** Whether static scales are to be measured, whatever the folder holds. */
const anew = ({ recalibrate, samples, window }: PlanOptions): boolean =>
  recalibrate === true || samples !== undefined || window !== undefined;

/** The plan that the folder holds ready, if it fits what was asked for. */
function readyPlan(
  folder: Folder,
  options: PlanOptions,
  config: () => Config,
  float: () => FloatModel,
): OpenPlan | undefined {
  const files = folder.list();
  const quantized = isQuantized(folder);
  const asked = options.recipe === undefined ? undefined : named(options.recipe);
  const file = quantized ? 'model.safetensors' : fileOf('plan', (asked ?? defaultRecipe(folder)).name);
  if (!files.includes(file) || (!quantized && anew(options))) return undefined;

  const where = `${folder.name}/${file}`;
  const source = folder.open(file);
  let ready: OpenPlan | undefined;
  try {
    const { plan, info } = loadPlan(source);
    if (files.includes('config.json')) checkSameConfig(info.config, config(), where);
    if (!quantized && hasWeights(folder)) checkSameWeights(info.source, float().identity(), where);
    const scheme = (asked ?? info.recipe).scheme;
    if (sameRecipe(scheme, info.recipe.scheme)) ready = { plan, info, close: () => source.close() };
    else if (quantized)
      throw new Error(
        `${where}: is quantized by recipe ${plain(info.recipe.name)}; for ${asked?.name} give the folder of the float model`,
      );
    return ready;
  } finally {
    if (!ready) source.close();
  }
}

/** Fields in which two configs of one model may differ: how a checkpoint is written, how far its vocabulary is padded. */
const OF_THE_FILE = ['naming', 'vocabSize', 'eosTokenId'];

/** A plan made for another model says so before it says anything else. */
function checkSameConfig(config: Config, beside: Config, where: string): void {
  const [made, says] = [config, beside].map(fields => new Map<string, unknown>(Object.entries(fields)));
  for (const key of new Set([...says.keys(), ...made.keys()]))
    if (!OF_THE_FILE.includes(key) && JSON.stringify(made.get(key)) !== JSON.stringify(says.get(key)))
      throw new Error(
        `${where}: was made for a model with ${plain(key)} ${plain(made.get(key))}; config.json says ${plain(says.get(key))}`,
      );
}

function checkSameWeights(made: string, found: string, where: string): void {
  if (found !== made)
    throw new Error(
      `${where}: was made for other weights (${plain(made.slice(0, 12))}) than those beside it (${found.slice(0, 12)})`,
    );
}

async function makePlan(
  folder: Folder,
  options: PlanOptions,
  model: FloatModel,
  preparing: Preparing,
): Promise<OpenPlan> {
  const asked = options.recipe === undefined ? defaultRecipe(folder) : named(options.recipe);
  const { config, program, close } = model;
  const recipe = { ...asked, scheme: checkRecipe(asked, config, program.graph) };
  const needed = needsCalibration(program, recipe.scheme);
  const found = needed ? await statsOf(folder, model, recipe, options, preparing) : undefined;
  const plan = planOf(program, recipe.scheme, found?.stats);
  const calibration = found?.calibration ?? null;
  return { plan, info: { config, recipe, source: model.identity(), calibration }, close };
}

/** The statistics of a recipe that lie in the folder of a float model, if there are any. */
export function keptStats(
  folder: Folder,
  recipe: { readonly name: string; readonly scheme: Recipe },
  { program, identity }: Pick<FloatModel, 'program' | 'identity'>,
): ReturnType<typeof loadStats> | undefined {
  const file = fileOf('stats', recipe.name);
  if (!folder.list().includes(file)) return undefined;
  const sizes = statsSizes(program, recipe.scheme);
  return using(folder, file, found => loadStats(found, { recipe: recipe.scheme, source: identity(), sizes }));
}

/** Statistics from the folder, or else from a calibration run. */
async function statsOf(
  folder: Folder,
  model: FloatModel,
  recipe: { readonly name: string; readonly scheme: Recipe },
  options: PlanOptions,
  preparing: Preparing,
): Promise<{ readonly stats: Stats; readonly calibration: CalibrationInfo }> {
  const kept = anew(options) ? undefined : keptStats(folder, recipe, model);
  if (kept) return kept;
  const { config, program, identity } = model;
  const { text, onProgress } = options;
  const { samples = CALIBRATION_DEFAULTS.samples, window = CALIBRATION_DEFAULTS.window } = options;
  if (!folder.list().includes('tokenizer.json'))
    throw new Error(
      `${folder.name}: recipe ${recipe.name} has static scales, and to calibrate them on a text takes a tokenizer.json; there is none`,
    );
  if (!text)
    throw new Error(`${folder.name}: recipe ${recipe.name} needs a calibration text (it has static scales)`);
  const tokens = openTokenizer(folder, config).encode(await text.read());
  const windows = samplesOf(tokens, samples, window);
  const calibration = { text: text.name, samples: windows.length, window };
  const sizes = statsSizes(program, recipe.scheme);
  const short = [
    windows.length < samples && `has room for ${windows.length} of ${samples} samples of ${window} tokens`,
    windows.length * window < tokensWanted(sizes) &&
      `gives ${windows.length * window} token${windows.length * window === 1 ? '' : 's'}, and recipe ${recipe.name} wants ${tokensWanted(sizes)} or more`,
  ].filter(Boolean);
  const stats = await cached();
  if (short.length > 0) options.onWarning?.(`calibration text ${text.name} ${short.join('; it ')}`);
  return { stats, calibration };

  async function cached(): Promise<Stats> {
    const { cache } = options;
    const info = { recipe: recipe.scheme, source: identity(), calibration };
    try {
      const found = cache?.open(cacheFile(info, windows));
      if (found) return closing(found, () => loadStats(found, { ...info, sizes }).stats);
    } catch {
      // a damaged file is written anew
    }
    const stats = calibrate(program, recipe.scheme, windows, {
      prepare: await preparing(window),
      onProgress,
    });
    await keepStats(cache, stats, info, windows);
    return stats;
  }
}

/** Keeps what calibration saw of these windows for who asks for it next, unless that is too large or there is no place. */
export async function keepStats(
  cache: StatsCache | undefined,
  stats: Stats,
  info: StatsInfo,
  windows: readonly Int32Array[],
): Promise<void> {
  try {
    if (hessianBytes(stats) <= MOST_HESSIANS)
      await cache?.write(cacheFile(info, windows), saveStats(stats, info));
  } catch {
    // no place to keep it is no reason to fail
  }
}

function cacheFile({ recipe, source }: StatsInfo, windows: readonly Int32Array[]): string {
  const key = hasher();
  key.update(new TextEncoder().encode(JSON.stringify([recipe, source])));
  for (const each of windows) key.update(bytesOf(each));
  return `stats.${key.hex()}.safetensors`;
}

/** What GPTQ needs of a large model is gigabytes, which nobody wants kept unasked. */
const MOST_HESSIANS = 2 ** 28;
const hessianBytes = ({ hessians = {} }: Stats): number =>
  Object.values(hessians).reduce((sum, { byteLength }) => sum + byteLength, 0);

function closing<T>(source: ByteSource, use: () => T): T {
  try {
    return use();
  } finally {
    source.close();
  }
}

function named(recipe: NonNullable<PlanOptions['recipe']>): { name: string; scheme: Recipe } {
  if (typeof recipe === 'string') return { name: recipe, scheme: recipeOf(recipe) };
  const { name, scheme } = object(recipe, 'load: recipe', ['name', 'scheme']);
  return {
    name: string(name, 'load: recipe.name'),
    scheme: object(scheme, 'load: recipe.scheme') as Recipe, // its fields are checked against the model
  };
}

/** What a float model is run as where nothing is said. */
function defaultRecipe(folder: Folder): ReturnType<typeof named> {
  const ready = (['plan', 'stats'] as const).map(kind => fileOf(kind, DEFAULT_RECIPE));
  return named(ready.some(file => folder.list().includes(file)) ? DEFAULT_RECIPE : FLOAT_RECIPE);
}
