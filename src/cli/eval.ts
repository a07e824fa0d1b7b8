/** `quamba eval`: perplexity of recipes on a text. */
import { Command } from 'commander';
import { defaultBackend } from '../backends/index.ts';
import { perplexity } from '../eval/perplexity.ts';
import { EMBEDDED_MODEL, load, textFile } from '../load.ts';
import { recipes } from '../quant/recipes.ts';
import { align } from '../render.ts';
import {
  backendOption,
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
      'Measures the perplexity of recipes on a text (windows without overlap, each from an empty state).',
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
  const results = [];
  let tokens: Int32Array | undefined; // of the text: the same for every recipe, and a second to make
  for (const recipe of chosen) {
    const model = await load(path, {
      recipe,
      backend,
      threads,
      onProgress: progressLine(`${recipe.name}: calibrating`, json),
    });
    tokens ??= model.tokenizer.encode(text);
    const line = progressLine(recipe.name, json);
    const measured = perplexity(model.session(), tokens, { window, windows }, line);
    model.dispose();
    results.push({ recipe: recipe.name, ...measured });
  }
  if (json) return printJson({ backend, results });
  const base = results[0].nats;
  const rows = results.map(({ recipe, nats, perplexity: ppl }) => [
    recipe,
    nats.toFixed(4),
    ppl.toFixed(3),
    `${nats >= base ? '+' : ''}${(100 * (Math.exp(nats - base) - 1)).toFixed(2)} %`,
  ]);
  print(align([['recipe', 'nats/token', 'perplexity', `against ${results[0].recipe}`], ...rows]));
}
