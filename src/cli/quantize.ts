/** `quamba quantize`: a quantized checkpoint, as a folder that every command takes as --model. */
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { openFolder, writeFileAtomic } from '../formats/disk.ts';
import { CALIBRATION_TEXT, load, textFile } from '../load.ts';
import { savePlan } from '../quant/checkpoint.ts';
import { DEFAULT_RECIPE } from '../quant/recipes.ts';
import { withPercentile } from '../quant/scheme.ts';
import {
  backendOption,
  bytes,
  count,
  fraction,
  jsonOption,
  modelOption,
  print,
  printJson,
  progressLine,
  recipeNamed,
  recipeOption,
  threadsOption,
  UsageError,
} from './terminal.ts';

export const quantizeCommand = () =>
  new Command('quantize')
    .description('Applies a recipe to a float model and writes a quantized checkpoint.')
    .requiredOption('--out <dir>', 'folder to write: model.safetensors, config.json and the tokenizer')
    .addOption(modelOption())
    .addOption(recipeOption(DEFAULT_RECIPE))
    .option(
      '--text <file>',
      'calibration text, .txt or .txt.gz (default: public-domain prose of the package)',
    )
    .option('--samples <n>', 'how many samples to calibrate on (default: 128)', count)
    .option('--window <n>', 'tokens in each sample (default: 512)', count)
    .option('--percentile <p>', 'p of the percentile ranges, instead of the 0.99999 of the table', fraction)
    .addOption(backendOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The embedded model comes with what calibration on its 128 × 512 tokens saw, for every recipe of the table; --text,
--samples, --window and --percentile calibrate anew.

Examples:
  quamba quantize --out my-quamba
  quamba quantize --model mamba-130m-hf --recipe quamba --samples 32 --window 256 --out mamba-130m-quamba
  quamba quantize --percentile 0.9995 --text novels.txt --out clipped`,
    )
    .action(quantize);

type Options = {
  out: string;
  model: string;
  recipe?: string;
  text?: string;
  samples?: number;
  window?: number;
  percentile?: number;
  backend?: string;
  threads: number;
  json?: boolean;
};

function chosenRecipe({ recipe, percentile }: Options): ReturnType<typeof recipeNamed> {
  const row = recipeNamed(recipe ?? DEFAULT_RECIPE);
  if (percentile === undefined) return row;
  const at = (p: number) => withPercentile(row.scheme, p);
  if (JSON.stringify(at(0.5)) === JSON.stringify(at(1)))
    throw new UsageError(
      `quantize: --percentile ${percentile} changes nothing, recipe ${row.name} clips at no site`,
    );
  return { name: `${row.name} p=${percentile}`, scheme: at(percentile) };
}

/** Runs `fill` once the folder is there, so that a wrong path is known before an hour of calibration and not after it. */
async function inNewFolder(path: string, fill: () => Promise<void>): Promise<void> {
  let made: string | undefined;
  try {
    made = mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new Error(`--out ${path}: cannot be made a folder (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    await fill();
  } catch (error) {
    if (made) rmSync(made, { recursive: true });
    throw error;
  }
}

/** What goes along with the weights. */
const COMPANIONS = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];

async function quantize(options: Options): Promise<void> {
  const { out, model: path, text, samples, window, percentile, backend, threads, json = false } = options;
  if (resolve(out) === resolve(path))
    throw new UsageError(`quantize: --out ${out} is the folder of the model itself`);
  const recipe = chosenRecipe(options);
  const target = join(out, 'model.safetensors');
  await inNewFolder(out, async () => {
    const model = await load(path, {
      recipe,
      backend,
      threads,
      samples,
      window,
      text: text === undefined ? CALIBRATION_TEXT : textFile(text),
      recalibrate: [text, samples, window, percentile].some(setting => setting !== undefined),
      onProgress: progressLine('calibrating', json),
    });
    writeFileAtomic(target, savePlan(model.plan, model.info));
    model.dispose();
    const files = openFolder(path).list();
    for (const file of COMPANIONS.filter(name => files.includes(name)))
      writeFileAtomic(join(out, file), [readFileSync(join(path, file))]);
    const size = statSync(target).size;
    if (json) printJson({ out, recipe: recipe.name, bytes: size, calibration: model.info.calibration });
    else print(`${target}: ${bytes(size)}, recipe ${recipe.name}`);
  });
}
