/** `quamba quantize`: a quantized checkpoint, as a folder that every command takes as --model. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { openFolder, writeFileAtomic } from '../formats/disk.ts';
import { CALIBRATION_TEXT, load, textFile } from '../load.ts';
import { savePlan } from '../quant/checkpoint.ts';
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
  UsageError,
} from './terminal.ts';

export const quantizeCommand = () =>
  new Command('quantize')
    .description('Applies a recipe to a float model and writes a quantized checkpoint.')
    .requiredOption('--out <dir>', 'folder to write: model.safetensors, config.json and the tokenizer')
    .addOption(modelOption())
    .addOption(recipeOption('quamba'))
    .option(
      '--text <file>',
      'calibration text, .txt or .txt.gz (default: public-domain prose of the package)',
    )
    .option('--samples <n>', 'how many samples to calibrate on (default: 128)', count)
    .option('--window <n>', 'tokens in each sample (default: 512)', count)
    .option('--percentile <p>', 'p of the percentile ranges, instead of the 0.99999 of the table', fraction)
    .addOption(backendOption())
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
  backend: string;
  json?: boolean;
};

/** What goes along with the weights. */
const COMPANIONS = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];

async function quantize(options: Options): Promise<void> {
  const { out, model: path, text, samples, window, percentile, backend, json = false } = options;
  if (resolve(out) === resolve(path))
    throw new UsageError(`quantize: --out ${out} is the folder of the model itself`);
  const row = recipeNamed(options.recipe ?? 'quamba');
  const recipe = percentile === undefined ? row : { ...row, scheme: withPercentile(row.scheme, percentile) };
  const anew = [text, samples, window, percentile].some(setting => setting !== undefined);
  const model = await load(path, {
    recipe,
    backend,
    samples,
    window,
    text: text === undefined ? CALIBRATION_TEXT : textFile(text),
    recalibrate: anew,
    onProgress: progressLine('calibrating', json),
  });
  const folder = openFolder(path);
  mkdirSync(out, { recursive: true });
  for (const file of COMPANIONS.filter(name => folder.list().includes(name)))
    writeFileAtomic(join(out, file), [readFileSync(join(path, file))]);
  const target = join(out, 'model.safetensors');
  let size = 0;
  const counted = function* () {
    for (const chunk of savePlan(model.plan, model.info)) {
      size += chunk.length;
      yield chunk;
    }
  };
  writeFileAtomic(target, counted());
  if (json) printJson({ out, recipe: recipe.name, bytes: size, calibration: model.info.calibration });
  else print(`${target}: ${bytes(size)}, recipe ${recipe.name}`);
}
