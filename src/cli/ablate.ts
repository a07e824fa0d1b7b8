/** `quamba ablate`: what each technique of the paper brings for a model, and what is noise. */
import { basename } from 'node:path';
import { Command, Option } from 'commander';
import { prepare } from '../backends/backend.ts';
import { defaultBackend } from '../backends/index.ts';
import { openBackend } from '../backends/node.ts';
import { ABLATION_DEFAULTS, type Ablation, ablate, PARTS, type Part } from '../eval/ablation.ts';
import type { NamedPlan } from '../eval/layer-error.ts';
import { layersTable, outliersTable, sitesTable, techniquesTable } from '../eval/report/tables.ts';
import { sentenceOf } from '../eval/report/words.ts';
import { openFolder } from '../formats/disk.ts';
import { openFloatModel } from '../open/float.ts';
import { CALIBRATION_TEXT, EMBEDDED_MODEL, load, textFile } from '../open/node.ts';
import { align } from '../plan/render.ts';
import { FLOAT_RECIPE, recipes } from '../quant/recipes.ts';
import { htmlOption, type ReportOptions, svgOption, writeReport } from './report.ts';
import {
  backendOption,
  count,
  fraction,
  jsonOption,
  modelOption,
  namesIn,
  printAs,
  progressLine,
  progressLines,
  type RunOptions,
  recipeNamed,
  threadsOption,
  twoOrMore,
  UsageError,
} from './terminal.ts';

export const ablateCommand = () =>
  new Command('ablate')
    .description(
      "Measures what each of the paper's two techniques brings (clipping u, rotating y, both, over p and calibration seeds), what they do to outliers, which activation costs what, and how the error grows from layer to layer.",
    )
    .addOption(
      new Option('--only <part...>', 'measure only these parts').choices([...PARTS]).default(PARTS, 'all'),
    )
    .option(
      '--text <file>',
      'evaluation text, .txt or .txt.gz (default: books that the embedded model never saw)',
    )
    .option('--calibration <file>', 'calibration text (default: public-domain prose of the package)')
    .option('--limit <tokens>', 'how much of the evaluation text', count, ABLATION_DEFAULTS.limit)
    .option('--window <n>', 'tokens in each window of it', twoOrMore, ABLATION_DEFAULTS.window)
    .option('--samples <n>', 'how many calibration samples', count, ABLATION_DEFAULTS.samples)
    .option('--sample <n>', 'tokens in each sample', count, ABLATION_DEFAULTS.sample)
    .option('--seeds <n>', 'how many draws of calibration samples', count, ABLATION_DEFAULTS.seeds)
    .option('--percentile <p>', 'p where one is needed (outliers, sites)', fraction, ABLATION_DEFAULTS.p)
    .option('--recipe <names>', "recipes whose layers are compared, separated by commas, or 'all'", 'all')
    .addOption(htmlOption())
    .addOption(svgOption())
    .addOption(modelOption())
    .addOption(backendOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The float model's logits are kept: limit × vocabulary × 4 bytes.

Examples:
  quamba ablate --threads 2 --html ablation.html
  quamba ablate --only techniques --limit 32768 --samples 128 --seeds 5 --json
  quamba ablate --only outliers layers --recipe naive-static,quamba --svg plots`,
    )
    .action(run);

type Options = Omit<RunOptions, 'recipe'> &
  ReportOptions & {
    only: readonly Part[];
    text?: string;
    calibration?: string;
    limit: number;
    window: number;
    samples: number;
    sample: number;
    seeds: number;
    percentile: number;
    recipe: string;
  };

async function run(options: Options): Promise<void> {
  const { model: path, backend: name = defaultBackend(), threads, json = false } = options;
  const { limit, window, samples, sample, seeds } = options;
  const names = namesIn(options.recipe, Object.keys(recipes), '--recipe');
  const chosen = names.map(recipeNamed).filter(({ name }) => name !== (FLOAT_RECIPE as string));
  if (window > limit) throw new UsageError(`ablate: --window ${window} is more than --limit ${limit}`);
  const { backend } = openBackend(name);
  const text = textFile(options.text ?? `${EMBEDDED_MODEL}/validation.txt.gz`);
  const calibrationText = options.calibration ? textFile(options.calibration) : CALIBRATION_TEXT;

  const float = await load(path, { recipe: FLOAT_RECIPE, backend: name, threads });
  const { tokenizer, name: model } = float;
  const evaluation = tokenizer.encode(await text.read());
  const calibration = tokenizer.encode(await calibrationText.read());
  float.dispose();
  const source = openFloatModel(openFolder(path));
  try {
    const plans = chosen.map(
      (recipe): NamedPlan => ({
        ...recipe,
        plan: async use => {
          const onProgress = progressLine(`${recipe.name}: calibrating`, json);
          const made = await load(path, { recipe, backend: name, threads, onProgress });
          try {
            return use(made.plan);
          } finally {
            made.dispose();
          }
        },
      }),
    );
    const settings = {
      ...ABLATION_DEFAULTS,
      ...{ limit, window, samples, sample, seeds, p: options.percentile, parts: options.only },
    };
    const ablation: Ablation = await ablate(
      {
        program: source.program,
        ...{ calibration, evaluation, plans },
        prepare: program => prepare(backend, program, { threads }),
        onProgress: progressLines(part => part, json),
      },
      settings,
    );
    const results = {
      ...{ model: basename(model), backend: name, text: text.name, calibrationText: calibrationText.name },
      settings,
      ablation,
    };
    writeReport(options, results);
    printAs(json, results, () => inWords(ablation));
  } finally {
    source.close();
  }
}

const inWords = ({ techniques, outliers, sites, layers }: Ablation): string =>
  [
    techniques && align(techniquesTable(techniques)),
    techniques?.verdicts.map(sentenceOf).join('\n'),
    outliers && align(outliersTable(outliers)),
    sites && align(sitesTable(sites)),
    layers && align(layersTable(layers)),
  ]
    .filter(Boolean)
    .join('\n\n');
