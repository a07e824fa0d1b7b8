/** `quamba bench`: tokens per second, and what they could be at best, of a folder's model or of random weights by shape. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { prepare } from '../backends/backend.ts';
import { backend as backendOf, defaultBackend } from '../backends/index.ts';
import type { Program } from '../graph.ts';
import { load } from '../load.ts';
import { randomModel } from '../model/random-model.ts';
import { type ShapeName, shapes } from '../model/shapes.ts';
import { nominalRanges } from '../quant/nominal-ranges.ts';
import { planOf } from '../quant/pipeline.ts';
import { align } from '../render.ts';
import { type Executable, initialState, type State } from '../run.ts';
import { machine, median, rate } from './measure.ts';
import {
  backendOption,
  bytes,
  count,
  integer,
  jsonOption,
  print,
  printJson,
  progressLine,
  recipeNamed,
  recipeOption,
  threadsOption,
  UsageError,
  usage,
} from './terminal.ts';
import { TYPES, writeCheckpoint } from './write-checkpoint.ts';

export const benchCommand = () =>
  new Command('bench')
    .description(
      'Measures tokens per second, prefill and decode, beside what reading the weights alone would take.',
    )
    .addOption(new Option('--shape <name>', 'random weights in this shape').choices(Object.keys(shapes)))
    .option('--model <dir>', 'or the model of a folder')
    .addOption(recipeOption('quamba-int8-head for a shape, what load() takes for a folder'))
    .addOption(backendOption())
    .addOption(threadsOption())
    .option('--prompt-length <n>', 'tokens fed at once', count, 128)
    .option('--generate <n>', 'tokens fed one by one', count, 64)
    .option('--rounds <n>', 'medians are over so many rounds, after one to warm up', count, 5)
    .option('--seed <n>', 'of the random weights', integer, 1)
    .option('--write-checkpoint <dir>', 'only write the random float weights, as a Hugging Face folder')
    .addOption(
      new Option('--type <name>', 'of the checkpoint: the same values, in 4 or 2 bytes')
        .choices(Object.keys(TYPES))
        .default('f32'),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Random weights are the same on every machine (src/model/random-model.ts). Their static scales are constants for each kind of
site (src/quant/nominal-ranges.ts), since the float weights of the largest shapes do not fit into a memory to calibrate them.
loadSeconds is from nothing to the first token: with --shape it holds the drawing and quantizing of the weights, with --model
the reading of the files. Prefill asks for the logits of the last token only, as generate does.

Examples:
  quamba bench --shape mamba-130m
  quamba bench --shape mamba-2.8b --threads 2 --generate 8 --rounds 3 --json
  quamba bench --shape mamba-130m --write-checkpoint mamba-130m-random --type f16
  quamba bench --model mamba-130m-quamba`,
    )
    .action(bench);

type Options = {
  shape?: ShapeName;
  model?: string;
  recipe?: string;
  backend?: string;
  threads: number;
  promptLength: number;
  generate: number;
  rounds: number;
  seed: number;
  writeCheckpoint?: string;
  type: keyof typeof TYPES;
  json?: boolean;
};

/** Of a shape where no recipe is named: the one that reads the fewest bytes for a token. */
const SHAPE_RECIPE = 'quamba-int8-head';

async function bench(options: Options): Promise<void> {
  const { shape, model, writeCheckpoint, json = false } = options;
  if ((shape === undefined) === (model === undefined))
    throw new UsageError('bench: give either --shape NAME or --model DIR');
  if (writeCheckpoint !== undefined) {
    if (shape === undefined) throw new UsageError('bench: --write-checkpoint takes a --shape');
    return write(writeCheckpoint, shape, options);
  }
  const start = performance.now();
  const opened = await open(options);
  try {
    const report = reportOf(opened, start, options);
    if (json) printJson(report);
    else print(table(report));
  } finally {
    opened.close();
  }
}

/** What is printed. `start`: when loading began, in milliseconds. */
function reportOf({ plan, executable, vocabSize, about }: Opened, start: number, options: Options) {
  const { backend = defaultBackend(), promptLength, generate, rounds } = options;
  const ids = Int32Array.from(
    { length: Math.max(promptLength, generate) },
    (_, i) => ((i * 7 + 3) % 256) % vocabSize,
  );
  executable.feed(ids.subarray(0, 1), initialState(plan));
  const loadSeconds = (performance.now() - start) / 1000;
  const measured = measure(plan, executable, ids, options);
  const running = executable.about;
  return {
    ...about,
    backend,
    threads: running?.threads ?? 1,
    promptLength,
    generate,
    rounds,
    ...measured,
    bytesPerToken: running?.bytesPerToken ?? null,
    loadSeconds,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    kernels: running?.kernels ?? null,
    ...machine(),
  };
}

interface Opened {
  readonly plan: Program;
  readonly executable: Executable;
  readonly vocabSize: number;
  readonly about: Readonly<Record<string, unknown>>;
  close(): void;
}

async function open({ shape, model: path, recipe, backend, threads, seed }: Options): Promise<Opened> {
  if (shape === undefined) {
    const model = await load(path, {
      recipe: recipe === undefined ? undefined : recipeNamed(recipe),
      backend,
      threads,
    });
    const { plan, executable, info } = model;
    const about = { model: path, recipe: info.recipe.name };
    return { plan, executable, vocabSize: info.config.vocabSize, about, close: () => model.dispose() };
  }
  const { name, scheme } = recipeNamed(recipe ?? SHAPE_RECIPE);
  const program = randomModel(shapes[shape], seed);
  const ranges = usage(() => nominalRanges(program.graph, scheme));
  const plan = planOf(program, scheme, { channels: {}, ranges });
  const executable = prepare(backendOf(backend ?? defaultBackend()), plan, { threads });
  await executable.ready;
  const about = { shape, seed, recipe: name };
  return {
    plan,
    executable,
    vocabSize: shapes[shape].vocabSize,
    about,
    close: () => executable.dispose?.(),
  };
}

/** Plain reads in a round, between tokens: each a pass over the same bytes, so that they find the caches alike. */
const READS = 8;

/** Rates of each round, and their medians. What a busy moment of the machine slows, it slows alike. */
function measure(
  plan: Program,
  executable: Executable,
  ids: Int32Array,
  { promptLength, generate, rounds, json }: Options,
) {
  const { bytesPerToken = 0 } = executable.about ?? {};
  const seen: { prefill: number; decode: number; read: number }[] = [];
  const progress = progressLine('round', json);
  for (let round = 0; round <= rounds; round++) {
    let state: State = initialState(plan);
    const feed = (tokens: Int32Array) => {
      state = executable.feed(tokens, state, { giveUp: true, logits: 'last' }).state;
    };
    const prefill = rate(promptLength, () => feed(ids.subarray(0, promptLength)));
    let seconds = 0;
    let reads = 0;
    let readSeconds = 0;
    for (let i = 0; i < generate; i++) {
      seconds += 1 / rate(1, () => feed(ids.subarray(i, i + 1)));
      if (i % Math.ceil(generate / READS) || !executable.readBandwidth) continue;
      readSeconds += bytesPerToken / executable.readBandwidth(bytesPerToken);
      reads++;
    }
    if (round > 0)
      seen.push({ prefill, decode: generate / seconds, read: (bytesPerToken * reads) / readSeconds });
    progress(round, rounds);
  }
  const canRead = executable.readBandwidth !== undefined;
  return {
    prefillTokensPerSecond: median(seen.map(({ prefill }) => prefill)),
    decodeTokensPerSecond: median(seen.map(({ decode }) => decode)),
    readBandwidth: canRead ? median(seen.map(({ read }) => read)) : null,
    readShare: canRead ? median(seen.map(({ decode, read }) => (decode * bytesPerToken) / read)) : null,
  };
}

function table(report: Readonly<Record<string, unknown>>): string {
  const { shape, model, recipe, backend, kernels, threads, node, cpu } = report;
  const number = (key: string) => report[key] as number | null;
  const perSecond = (key: string) => `${number(key)!.toFixed(1)} tokens/s`;
  const rows = [
    ['model', `${shape ?? model}, ${recipe}`],
    [
      'runs on',
      `${backend}${kernels ? ` (${kernels})` : ''}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, Node ${node}, ${cpu}`,
    ],
    [`prefill, ${report.promptLength} tokens`, perSecond('prefillTokensPerSecond')],
    [`decode, ${report.generate} tokens`, perSecond('decodeTokensPerSecond')],
  ];
  if (number('readBandwidth'))
    rows.push(
      ['read for each token', bytes(number('bytesPerToken')!)],
      ['a plain read of them', `${bytes(number('readBandwidth')!)}/s`],
      ['decode reads at', `${(100 * number('readShare')!).toFixed(0)} % of it`],
    );
  rows.push(
    ['load to first token', `${number('loadSeconds')!.toFixed(2)} s`],
    ['peak memory', bytes(number('peakMemoryBytes')!)],
  );
  return align(rows);
}

function write(path: string, shape: ShapeName, { seed, type, json = false }: Options): void {
  writeCheckpoint(path, shapes[shape], { seed, type, onProgress: progressLine('writing tensor', json) });
  const size = statSync(join(path, 'model.safetensors')).size;
  if (json) printJson({ out: path, shape, seed, type, bytes: size });
  else print(`${path}: ${shape} with random weights, seed ${seed}, ${type}, ${bytes(size)}`);
}
