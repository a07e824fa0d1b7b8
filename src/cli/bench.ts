/** `quamba bench`: tokens per second, and what they could be at best, of a folder's model or of random weights by shape. */

import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { backend as backendOf, defaultBackend } from '../backends/index.ts';
import { sizeWords } from '../eval/report/words.ts';
import type { Executable } from '../executable.ts';
import { align } from '../plan/render.ts';
import { configs, type ShapeName } from '../random/shapes.ts';
import { writeCheckpoint } from '../random/write-checkpoint.ts';
import { benchCuda } from './bench-cuda.ts';
import { BENCH_OPTIONS, type BenchOptions, type Opened, open } from './bench-model.ts';
import { command, refuse } from './command.ts';
import { machine, median, rate } from './measure.ts';
import { printAs, progressLine, UsageError } from './terminal.ts';

export const benchCommand = command(
  'bench',
  'Measures tokens per second, prefill and decode, beside what a plain read of the same bytes would take.',
  BENCH_OPTIONS,
  `
Random weights are the same on every machine (src/random/model.ts). Their static scales are constants for each kind of
site (src/random/nominal-ranges.ts), since the float weights of the largest shapes do not fit into a memory to calibrate them.
loadSeconds is from nothing to the first token: with --shape it holds the drawing and quantizing of the weights, with --model
the reading of the files. Prefill asks for the logits of the last token only, as generate does.

--backend cuda measures as the paper does: the time to the first token, to each further one, to the last one.

Examples:
  quamba bench --shape mamba-130m
  quamba bench --shape mamba2-130m
  quamba bench --shape mamba-130m --batch 8
  quamba bench --shape mamba-2.8b --threads 2 --generate 8 --rounds 3 --json
  quamba bench --shape mamba-130m --write-checkpoint mamba-130m-random --type f16
  quamba bench --model mamba-130m-quamba
  quamba bench --shape mamba-2.8b --backend cuda --prompt-length 1024
  quamba bench --shape mamba-2.8b --backend cuda --precision f16`,
).action(bench);

/** What a checkpoint of random weights does not depend on. */
const OF_RUNS =
  '--recipe --backend --threads --context --precision --decode --batch --prompt-length --generate --rounds'.split(
    ' ',
  );

async function bench(options: BenchOptions, self: Command): Promise<void> {
  const { shape, model, writeCheckpoint, json } = options;
  if ((shape === undefined) === (model === undefined))
    throw new UsageError('bench: give either --shape NAME or --model DIR');
  if (writeCheckpoint !== undefined) {
    if (shape === undefined) throw new UsageError('bench: --write-checkpoint takes a --shape');
    refuse(self, OF_RUNS, 'with --write-checkpoint');
    return write(writeCheckpoint, shape, options);
  }
  refuse(self, ['--type'], 'without --write-checkpoint');
  if (shape === undefined) refuse(self, ['--seed'], 'without --shape');
  if (options.backend === 'cuda') return benchCuda(options);
  refuse(self, ['--precision', '--decode'], 'without --backend cuda');
  const start = performance.now();
  const opened = await open(options, backendOf(options.backend ?? defaultBackend()));
  try {
    const report = reportOf(opened, start, options);
    printAs(json, report, () => table(report));
  } finally {
    opened.close();
  }
}

/** What is printed. `start`: when loading began, in milliseconds. */
function reportOf({ executable, vocabSize, about }: Opened, start: number, options: BenchOptions) {
  const { backend = defaultBackend(), promptLength, generate, rounds, batch = 1 } = options;
  const length = Math.max(promptLength, generate);
  const ids = Int32Array.from({ length }, (_, i) => ((i * 7 + 3) % 256) % vocabSize);
  const first = executable.open();
  first.feed(ids.subarray(0, 1));
  first.close();
  const loadSeconds = (performance.now() - start) / 1000;
  const measured = measure(executable, ids, options);
  const running = executable.about;
  return {
    ...{ ...about, backend, threads: running?.threads ?? 1, promptLength, generate, rounds, batch },
    ...measured,
    bytesPerToken: running?.bytesPerToken ?? null,
    loadSeconds,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    kernels: running?.kernels ?? null,
    ...machine(),
  };
}

/** Plain reads in a round, between tokens: each a pass over the same bytes, so that they find the caches alike. */
const READS = 8;

/** Rates of each round, and their medians. What a busy moment of the machine slows, it slows alike. */
function measure(executable: Executable, ids: Int32Array, options: BenchOptions) {
  const { promptLength, generate, rounds, batch = 1 } = options;
  const { bytesPerToken = 0 } = executable.about ?? {};
  const seen: { prefill: number; decode: number; read: number; together: number }[] = [];
  const progress = progressLine('round');
  const sequence = executable.open();
  const sequences = Array.from({ length: batch > 1 ? batch : 0 }, () => executable.open());
  for (let round = 0; round <= rounds; round++) {
    sequence.load();
    const feed = (tokens: Int32Array) => sequence.feed(tokens, { logits: 'last' });
    const prefill = rate(promptLength, () => feed(ids.subarray(0, promptLength)));
    let seconds = 0;
    let togetherSeconds = 0;
    let reads = 0;
    let readSeconds = 0;
    for (let i = 0; i < generate; i++) {
      const tokens = ids.subarray(i, i + 1);
      seconds += 1 / rate(1, () => feed(tokens));
      const turns = sequences.map(each => ({ sequence: each, tokens }));
      if (batch > 1) togetherSeconds += 1 / rate(1, () => executable.feed(turns, { logits: 'last' }));
      if (i % Math.ceil(generate / READS) || !executable.readBandwidth) continue;
      readSeconds += bytesPerToken / executable.readBandwidth(bytesPerToken);
      reads++;
    }
    const [decode, together] = [generate / seconds, (batch * generate) / togetherSeconds];
    if (round > 0) seen.push({ prefill, decode, together, read: (bytesPerToken * reads) / readSeconds });
    progress(round, rounds);
  }
  const canRead = executable.readBandwidth !== undefined;
  const of = (value: (round: (typeof seen)[number]) => number) => median(seen.map(value));
  return {
    prefillTokensPerSecond: of(({ prefill }) => prefill),
    decodeTokensPerSecond: of(({ decode }) => decode),
    batchTokensPerSecond: batch > 1 ? of(({ together }) => together) : null,
    batchGain: batch > 1 ? of(({ together, decode }) => together / decode) : null,
    readBandwidth: canRead ? of(({ read }) => read) : null,
    readShare: canRead ? of(({ decode, read }) => (decode * bytesPerToken) / read) : null,
  };
}

function table(report: ReturnType<typeof reportOf>): string {
  const { shape, model, recipe, backend, kernels, threads, node, cpu } = report;
  const { batchTokensPerSecond, batchGain, bytesPerToken, readBandwidth, readShare } = report;
  const perSecond = (rate: number) => `${rate.toFixed(1)} tokens/s`;
  const engine = `${backend}${kernels ? ` (${kernels})` : ''}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  const rows = [
    ['model', `${shape ?? model}, ${recipe}`],
    ['runs on', `${engine}, Node ${node}, ${cpu}`],
    [`prefill, ${report.promptLength} tokens`, perSecond(report.prefillTokensPerSecond)],
    [`decode, ${report.generate} tokens`, perSecond(report.decodeTokensPerSecond)],
  ];
  if (batchTokensPerSecond && batchGain)
    rows.push([
      `decode of ${report.batch} sequences`,
      `${perSecond(batchTokensPerSecond)}, ${batchGain.toFixed(2)} × that of one`,
    ]);
  if (bytesPerToken && readBandwidth && readShare)
    rows.push(
      ['moved for each token', sizeWords(bytesPerToken)],
      ['a plain read of as much', `${sizeWords(readBandwidth)}/s`],
      ['decode reaches', `${(100 * readShare).toFixed(0)} % of it`],
    );
  rows.push(
    ['load to first token', `${report.loadSeconds.toFixed(2)} s`],
    ['peak memory', sizeWords(report.peakMemoryBytes)],
  );
  return align(rows);
}

async function write(path: string, shape: ShapeName, { seed, type, json }: BenchOptions): Promise<void> {
  await writeCheckpoint(path, configs[shape], { seed, type, onProgress: progressLine('writing tensor') });
  const size = statSync(join(path, 'model.safetensors')).size;
  const words = `${path}: ${shape} with random weights, seed ${seed}, ${type}, ${sizeWords(size)}`;
  printAs(json, { out: path, shape, seed, type, bytes: size }, () => words);
}
