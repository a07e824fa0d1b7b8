/** `quamba quantize`: a quantized checkpoint, as a folder that every command takes as --model. */

import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { prepare } from '../backends/backend.ts';
import { defaultBackend } from '../backends/index.ts';
import { openBackend } from '../backends/node.ts';
import { floatReference } from '../eval/fidelity.ts';
import { sizeWords } from '../eval/report/words.ts';
import { openFolder, readFile, realPath, writeFiles } from '../formats/disk.ts';
import { withOutput } from '../formats/lock.ts';
import { TOKENIZER_FILES } from '../formats/tokenizer.ts';
import { openFloatModel } from '../open/float.ts';
import { CALIBRATION_TEXT, load, textFile } from '../open/node.ts';
import { CALIBRATION_DEFAULTS, keepStats } from '../open/plan.ts';
import { openTokenizer } from '../open/tokenizer.ts';
import { checkRecipe } from '../quant/check-recipe.ts';
import { savePlan } from '../quant/checkpoint.ts';
import { heldOutOf, samplesOf } from '../quant/pipeline.ts';
import { DEFAULT_RECIPE } from '../quant/recipes.ts';
import { withPercentile } from '../quant/scheme.ts';
import { clips, type Search, searchPercentile, type Trial } from '../quant/search.ts';
import { statsCache } from './calibrating.ts';
import { command, type OptionsOf, option, refuse, required } from './command.ts';
import { engineOptions, jsonOption, modelOption, outFolder, recipeOption } from './options.ts';
import { print, printAs, progressLine, tell, UsageError } from './terminal.ts';
import { fraction, type NamedRecipe, recipeNamed, wholeFrom } from './values.ts';

const fractionOrSearch = (text: string) => (text === 'search' ? text : fraction(text));

const OPTIONS = [
  required(outFolder('--out <dir>', 'folder to write: model.safetensors, config.json and the tokenizer')),
  option('--force', 'write into a folder in which something is already'),
  modelOption,
  recipeOption(DEFAULT_RECIPE),
  option(
    '--text <file>',
    'calibration text, .txt or .txt.gz (default: public-domain prose of the package)',
    textFile,
  ),
  option('--samples <n>', 'how many samples to calibrate on (default: 128)', wholeFrom(1)),
  option('--window <n>', 'tokens in each sample (default: 512)', wholeFrom(1)),
  option(
    '--percentile <p>',
    "p of the percentile ranges, instead of the table's; 'search' tries several on the calibration text",
    fractionOrSearch,
  ),
  option('--per-layer', 'search a p for each layer'),
  ...engineOptions,
  jsonOption,
] as const;

export const quantizeCommand = command(
  'quantize',
  'Applies a recipe to a float model and writes a quantized checkpoint.',
  OPTIONS,
  `
The embedded model comes with what calibration on its 128 × 512 tokens saw, for every recipe of the table; --text,
--samples, --window and --percentile calibrate anew.

Examples:
  quamba quantize --out my-quamba
  quamba quantize --model mamba-130m-hf --recipe quamba --samples 32 --window 256 --out mamba-130m-quamba
  quamba quantize --percentile 0.9995 --text novels.txt --out clipped
  quamba quantize --percentile search --per-layer --samples 32 --out searched`,
).action(quantize);

type Options = OptionsOf<typeof OPTIONS>;

/** The recipe that was asked for, with the p that was asked for or found by search. */
async function chosenRecipe(options: Options): Promise<NamedRecipe & { search?: Found }> {
  const { recipe: row = recipeNamed(DEFAULT_RECIPE), percentile, perLayer } = options;
  if (perLayer && percentile !== 'search')
    throw new UsageError('quantize: --per-layer is a way of --percentile search');
  if (percentile === undefined) return row;
  if (!clips(row.scheme))
    throw new UsageError(
      `quantize: --percentile ${percentile} changes nothing, recipe ${row.name} clips at no site`,
    );
  const search = percentile === 'search' ? await searched(options, row) : undefined;
  const p = search?.percentile ?? (percentile as number);
  const name = `${row.name} p=${typeof p === 'number' ? p : 'by layer'}`;
  return { name, scheme: withPercentile(row.scheme, p), search };
}

/** The result of a search. Scores are the KL divergence from the float model in nats: less is better. */
type Found = Pick<Search, 'percentile' | 'score' | 'trials'>;

/** Windows between the calibration samples, on which a p is judged. */
const HELD_OUT = 16;

/**
 * Which p is the best for the model, found on its calibration text. What calibration saw for it is kept, so that it is not measured
 * again.
 *
 * @throws RangeError for a text that is too short; what opening the model throws.
 */
async function searched(options: Options, asked: NamedRecipe): Promise<Found> {
  const { model: path, text = CALIBRATION_TEXT, perLayer, threads, json } = options;
  const { samples = CALIBRATION_DEFAULTS.samples, window = CALIBRATION_DEFAULTS.window } = options;
  const folder = openFolder(path);
  const { config, program, identity, close } = openFloatModel(folder);
  try {
    const recipe = checkRecipe(asked, config, program.graph);
    const tokens = openTokenizer(folder, config).encode(await text.read());
    const { backend } = openBackend(options.backend ?? defaultBackend());
    const run = (part: typeof program) => prepare(backend, part, { threads });
    const windows = heldOutOf(tokens, samples, window, HELD_OUT);
    const float = floatReference(program, { windows, prepare: run });
    const score = (plan: typeof program) => float.compare(plan).fidelity.kl;
    const seen = samplesOf(tokens, samples, window);
    const found = searchPercentile(program, recipe, seen, score, {
      perLayer,
      prepare: run,
      onProgress: progressLine('search: calibrating'),
      onTrial: (trial, done, total) => json || print(`${done}/${total}  ${inWords(trial)}`),
    });
    if (!json) print(`found ${inWords(found)}`);
    const best = { name: asked.name, scheme: withPercentile(asked.scheme, found.percentile) };
    const info = {
      recipe: checkRecipe(best, config, program.graph),
      source: identity(),
      calibration: { text: text.name, samples: seen.length, window },
    };
    await keepStats(statsCache, found.stats, info, seen);
    return { percentile: found.percentile, score: found.score, trials: found.trials };
  } finally {
    close();
  }
}

const inWords = ({ percentile, score }: Trial): string =>
  `p ${typeof percentile === 'number' ? percentile : percentile.join(' ')}: KL ${score.toFixed(5)}`;

/** Files that are copied along with the weights. */
const COMPANIONS = ['config.json', 'generation_config.json', ...TOKENIZER_FILES];

async function quantize(options: Options, self: Command): Promise<void> {
  const { out, force, model: path, text, samples, window, percentile, backend, threads, json } = options;
  if (['.', 'model.safetensors'].some(name => realPath(join(out, name)) === realPath(join(path, name))))
    throw new UsageError(`quantize: --out ${out} is the folder of the model itself`);
  if (!force && existsSync(out) && readdirSync(out).length > 0)
    throw new UsageError(`quantize: --out ${out} is there already; --force writes into it`);
  await withOutput(out, async () => {
    const { search, ...recipe } = await chosenRecipe(options);
    const model = await load(path, {
      ...{ recipe, backend, threads, samples, window },
      text: text ?? CALIBRATION_TEXT,
      recalibrate: [text, samples, window, percentile].some(setting => setting !== undefined),
      cache: statsCache,
      onProgress: progressLine('calibrating'),
      onWarning: tell,
    });
    const { calibration } = model.info;
    if (!calibration) refuse(self, CALIBRATE, `where nothing is calibrated, as for recipe ${recipe.name}`);
    const files = openFolder(path).list();
    const companions = COMPANIONS.filter(name => files.includes(name));
    await writeFiles(out, [
      ['model.safetensors', savePlan(model.plan, model.info)],
      ...companions.map(name => [name, [readFile(join(path, name), { pipes: false })]] as const),
    ]);
    // those of another model, of which the folder held a checkpoint
    for (const name of COMPANIONS) if (!files.includes(name)) rmSync(join(out, name), { force: true });
    model.dispose();
    const target = join(out, 'model.safetensors');
    const bytes = statSync(target).size;
    const report = { out, recipe: recipe.name, bytes, calibration, ...(search && { search }) };
    printAs(json, report, () => `${target}: ${sizeWords(bytes)}, recipe ${recipe.name}`);
  });
}

const CALIBRATE = ['--text', '--samples', '--window'];
