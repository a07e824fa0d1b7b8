/** `quamba inspect`: what is in a model, and what a recipe makes of it. */
import type { Command } from 'commander';
import { sizeWords } from '../eval/report/words.ts';
import { using } from '../formats/bytes.ts';
import { openFolder } from '../formats/disk.ts';
import type { Program } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { outlineOf } from '../model/index.ts';
import type { Model } from '../open/model.ts';
import { load } from '../open/node.ts';
import { align, folded, type Row, rows } from '../plan/render.ts';
import { isPlan, verifyPlan } from '../quant/checkpoint.ts';
import { statesBytes } from '../state.ts';
import { BYTES, describe, sizeOf } from '../tensor.ts';
import { calibrating } from './calibrating.ts';
import { command, type OptionsOf, option, refuse } from './command.ts';
import { diffLines } from './diff.ts';
import { jsonOption, modelOption, recipeOption } from './options.ts';
import { printAs, UsageError } from './terminal.ts';
import { type NamedRecipe, recipeNamed, wholeFrom } from './values.ts';

const OPTIONS = [
  modelOption,
  recipeOption(),
  option('--plan', 'the plan as a table, one line a node'),
  option('--diff <recipe>', 'the plan beside that of another recipe: - this one, + the other', recipeNamed),
  option('--layer <n>', 'only the nodes of one layer', wholeFrom(0)),
  option('--tensors', 'every constant of the plan, with type, shape and size'),
  option('--verify', 'check every byte of a quantized checkpoint'),
  jsonOption,
] as const;

export const inspectCommand = command(
  'inspect',
  'Shows a model: its configuration, tensors, sizes, recipe and plan.',
  OPTIONS,
  `
Examples:
  quamba inspect
  quamba inspect --recipe quamba --plan --layer 0
  quamba inspect --recipe naive-static --diff quamba --layer 0
  quamba inspect --model my-quamba --tensors --json`,
).action(inspect);

async function inspect(options: OptionsOf<typeof OPTIONS>, self: Command): Promise<void> {
  const { model: path, layer, json = false } = options;
  if (options.verify) {
    refuse(self, ['--recipe', '--plan', '--diff', '--layer', '--tensors'], 'with --verify');
    return verify(path, json);
  }
  if (!options.plan && !options.diff) refuse(self, ['--layer'], 'without --plan or --diff');
  const open = (recipe: NamedRecipe | undefined) => load(path, { recipe, ...calibrating() });
  const model = await open(options.recipe);
  const { config, recipe } = model.info;
  if (layer !== undefined && layer >= config.layers)
    throw new UsageError(`inspect: --layer expected 0 … ${config.layers - 1}; got ${layer}`);

  const most = json ? Number.POSITIVE_INFINITY : (process.stdout.columns ?? COLUMNS);
  const shown: Record<string, unknown> = { model: path, recipe: recipe.name };
  const texts: string[] = [];
  if (options.plan) {
    shown.plan = rows(model.plan).filter(inLayer(layer));
    texts.push(table(model.plan, layer, most).join('\n'));
  }
  if (options.diff !== undefined) {
    const other = await open(options.diff);
    const [before, after] = [model, other].map(({ plan }) => table(plan, layer, most - 2));
    shown.diff = diffLines(before, after);
    texts.push((shown.diff as string[]).join('\n'));
  }
  const tensors = tensorsOf(model.plan);
  if (options.tensors) {
    shown.tensors = tensors;
    texts.push(align([['tensor', 'type', 'bytes'], ...tensors.map(t => [t.name, t.type, `${t.bytes}`])]));
  }
  if (texts.length === 0) {
    const facts = factsOf(model, tensors);
    Object.assign(shown, facts);
    texts.push(summary(path, recipe.name, facts));
  }
  printAs(json, shown, () => texts.join('\n\n'));
}

/** Checks the quantized checkpoints of a folder; one that has changed is a failure. */
function verify(path: string, json: boolean): void {
  const folder = openFolder(path);
  const checkpoints = folder.list().filter(name => /^(model|plan\..*)\.safetensors$/.test(name));
  const files = checkpoints.filter(name => name !== 'model.safetensors' || using(folder, name, isPlan));
  if (files.length === 0) throw new Error(`${path}: holds no quantized checkpoint to verify`);
  const results = files.map(file => {
    try {
      return { file, whole: using(folder, file, verifyPlan) };
    } catch (error) {
      return { file, whole: false, error: (error as Error).message };
    }
  });
  const says = ({ whole, error = 'bytes have changed since it was saved' }: (typeof results)[number]) =>
    whole ? 'every byte is as it was saved' : error;
  const lines = results.map(result => `${result.file}: ${says(result)}`);
  printAs(json, { model: path, files: results }, () => lines.join('\n'));
  if (!results.every(({ whole }) => whole)) process.exitCode = 1;
}

const inLayer = (layer: number | undefined) => (row: Row) =>
  layer === undefined || row.value.startsWith(`layers.${layer}.`);

/** How wide a table may be where no terminal says it. */
const COLUMNS = 100;

/** The entries of the plan's table; with a layer, those of that layer and the heading. */
function table(plan: Program, layer: number | undefined, most: number): string[] {
  const keep = inLayer(layer);
  const all = rows(plan);
  return folded(plan, most).filter((_, i) => i === 0 || keep(all[i - 1]));
}

function tensorsOf({ graph, weights }: Program) {
  return [...graph.weights.keys()].map(name => {
    const t = weights.read(name);
    return { name, type: describe(t), bytes: t.data.length * BYTES[t.dtype] };
  });
}

/** Of the float model: a plan packs two weights into a byte, and adds scales. */
const parametersOf = (config: Config): number =>
  [...outlineOf(config).stored.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);

function factsOf({ plan, info }: Model, tensors: ReturnType<typeof tensorsOf>) {
  return {
    architecture: info.config.architecture,
    config: info.config,
    scheme: info.recipe.scheme,
    calibration: info.calibration,
    parameters: parametersOf(info.config),
    bytes: tensors.reduce((sum, tensor) => sum + tensor.bytes, 0),
    stateBytes: statesBytes(plan.graph.states, 0),
    tokenBytes: statesBytes(plan.graph.states, 1) - statesBytes(plan.graph.states, 0),
    nodes: rows(plan).length,
    source: info.source,
  };
}

function summary(path: string, recipe: string, facts: ReturnType<typeof factsOf>): string {
  const { config, scheme, calibration } = facts;
  const { architecture, ...sizes } = config;
  const each = facts.tokenBytes > 0 ? `, and ${sizeWords(facts.tokenBytes)} for each of its tokens` : '';
  const from = calibration && `${calibration.samples} × ${calibration.window} tokens of ${calibration.text}`;
  return align([
    ['model', path],
    ['architecture', architecture],
    ...Object.entries(sizes).map(([key, value]) => [`  ${key}`, String(value)]),
    ['recipe', `${recipe}  ${JSON.stringify(scheme)}`],
    ['calibrated on', from ?? 'nothing'],
    ['parameters', facts.parameters.toLocaleString('en')],
    ['in memory', sizeWords(facts.bytes)],
    ['state', `${sizeWords(facts.stateBytes)} for a text of any length${each}`],
    ['plan', `${facts.nodes} nodes (--plan shows them)`],
    ['source', `${facts.source.slice(0, 16)}…  (identity of the float weights)`],
  ]);
}
