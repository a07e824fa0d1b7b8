/** `quamba eval`: perplexity of recipes on a text. */
import { Command } from 'commander';
import { defaultBackend } from '../backends/index.ts';
import { type Measured, measure } from '../eval/perplexity.ts';
import { EMBEDDED_MODEL, load, textFile } from '../load.ts';
import type { Model } from '../open-model.ts';
import { FLOAT_RECIPE, recipes } from '../quant/recipes.ts';
import { align } from '../render.ts';
import { tensorsOf } from './inspect.ts';
import {
  backendOption,
  bytes,
  count,
  jsonOption,
  modelOption,
  print,
  printJson,
  progressLine,
  recipeNamed,
  threadsOption,
  twoOrMore,
} from './terminal.ts';

export const evalCommand = () =>
  new Command('eval')
    .description(
      'Measures how well recipes predict a text: perplexity (windows without overlap, each from an empty state) and, with fp32 among them, the mean KL divergence from it and how often the likeliest token is its own.',
    )
    .option('--recipe <names>', "one or more, separated by commas, or 'all'", 'all')
    .option(
      '--text <file>',
      'UTF-8 text, .txt or .txt.gz (default: 1 MB of books that the embedded model never saw)',
    )
    .option('--window <n>', 'tokens in each window', twoOrMore, 1024)
    .option('--windows <n>', 'how many windows, from the beginning', count, 10)
    .addOption(modelOption())
    .addOption(backendOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  quamba eval --recipe fp32,quamba --windows 2
  quamba eval --recipe all --window 1024 --windows 10 --json`,
    )
    .action(evaluate);

type Options = {
  recipe: string;
  text?: string;
  window: number;
  windows: number;
  model: string;
  backend?: string;
  threads: number;
  json?: boolean;
};

async function evaluate(options: Options): Promise<void> {
  const { window, windows, model: path, backend = defaultBackend(), threads, json = false } = options;
  const names = options.recipe === 'all' ? Object.keys(recipes) : options.recipe.split(',');
  const chosen = names.map(recipeNamed);
  const text = await textFile(options.text ?? `${EMBEDDED_MODEL}/validation.txt.gz`).read();
  const models: Model[] = [];
  try {
    for (const recipe of chosen) {
      const onProgress = progressLine(`${recipe.name}: calibrating`, json);
      models.push(await load(path, { recipe, backend, threads, onProgress }));
    }
    const float = chosen.findIndex(({ name }) => name === FLOAT_RECIPE);
    const measured = measure(
      models.map(model => model.session()),
      models[0].tokenizer.encode(text),
      { window, windows, against: float < 0 ? undefined : float, onProgress: progressLine('window', json) },
    );
    const results = measured.map((row, i) => ({
      recipe: chosen[i].name,
      ...row,
      bytes: tensorsOf(models[i].plan).reduce((sum, tensor) => sum + tensor.bytes, 0),
    }));
    if (json) printJson({ backend, results });
    else print(table(results));
  } finally {
    for (const model of models) model.dispose();
  }
}

type Result = Measured & { readonly recipe: string; readonly bytes: number };

function table(results: readonly Result[]): string {
  const [{ recipe: first, nats: base, kl: compared }] = results;
  const rows = results.map(({ recipe, nats, perplexity, kl, top1, bytes: size }) => [
    recipe,
    nats.toFixed(4),
    perplexity.toFixed(3),
    `${nats >= base ? '+' : ''}${(100 * (Math.exp(nats - base) - 1)).toFixed(2)} %`,
    ...(kl === undefined || top1 === undefined ? [] : [kl.toFixed(5), `${(100 * top1).toFixed(2)} %`]),
    bytes(size),
  ]);
  const against = compared === undefined ? [] : ['KL to fp32', 'same top token'];
  return align([
    ['recipe', 'nats/token', 'perplexity', `against ${first}`, ...against, 'in memory'],
    ...rows,
  ]);
}
