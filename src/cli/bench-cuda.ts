/**
 * `quamba bench --backend cuda`, by the paper's protocol:
 *
 *   TTFT  a prompt, fed at once, until its last logits are on the host
 *   TPOT  a token after it, with the state: until its logits are on the host; and where they stay on the GPU and all tokens are
 *         queued at once, as where the next token is chosen there
 *   TTLT  the prompt and all tokens after it
 */

import type { Decode } from '../backends/cuda/abi.ts';
import { type Cuda, type CudaExecutable, requireCuda } from '../backends/cuda/index.ts';
import { sizeWords } from '../eval/report/words.ts';
import type { Sequence, Turn } from '../executable.ts';
import { align } from '../plan/render.ts';
import { FLOAT_RECIPE } from '../quant/recipes.ts';
import { random } from '../text/random.ts';
import { type BenchOptions, open } from './bench-model.ts';
import { machine, median } from './measure.ts';
import { printAs, progressLine } from './terminal.ts';
import { recipeNamed } from './values.ts';

export async function benchCuda(options: BenchOptions): Promise<void> {
  const { precision, decode, batch, json } = options;
  const report = await reportOf(requireCuda({ precision, decode, sequences: batch }), options);
  printAs(json, report, () => table(report));
}

/** What is printed. */
export async function reportOf({ backend, about: { device } }: Cuda, options: BenchOptions) {
  const { precision = 'exact', batch = 1, promptLength, generate, rounds } = options;
  const start = performance.now();
  const recipe = options.recipe ?? (precision === 'f16' ? recipeNamed(FLOAT_RECIPE) : undefined);
  const opened = await open({ ...options, recipe }, backend);
  try {
    const executable = opened.executable as CudaExecutable; // of a plan, and this backend
    const texts = textsOf(opened.vocabSize, options);
    const sequences = texts.map(() => executable.open());
    executable.feed(sequences.map((sequence, i) => ({ sequence, tokens: texts[i].subarray(0, 1) })));
    const loadSeconds = (performance.now() - start) / 1000;
    const measured = measure(executable, sequences, texts, options);
    const { bytesPerToken, memoryBytes } = executable.about;
    const { decode, launches } =
      batch > 1 ? { decode: together(executable), launches: null } : executable.about;
    return {
      ...opened.about,
      ...{ backend: backend.name, precision, decode, batch, promptLength, generate, rounds },
      ...measured,
      ...{ bytesPerToken, launches, memoryBytes, loadSeconds, device: device.name, sm: device.sm },
      ...machine(),
    };
  } finally {
    opened.close();
  }
}
type Report = Awaited<ReturnType<typeof reportOf>>;

/** How one token of each of several sequences runs. */
const together = ({ about }: CudaExecutable): Decode => (about.decode === 'nodes' ? 'nodes' : 'graph');

/** A text for each sequence: the prompt, then the tokens after it. */
function textsOf(vocabSize: number, { batch = 1, promptLength, generate, seed }: BenchOptions) {
  const next = random(seed);
  return Array.from({ length: batch }, () =>
    Int32Array.from({ length: promptLength + generate }, () => Math.floor(next() * vocabSize)),
  );
}

/** Enough that no cache holds it, and no more than a small GPU has beside a model. */
const READ = { least: 2 ** 28, most: 2 ** 30 };

/** Milliseconds and bytes per second of each round, and their medians: what slows the machine for a while slows all alike. */
function measure(
  executable: CudaExecutable,
  sequences: readonly Sequence[],
  texts: readonly Int32Array[],
  { promptLength, generate, rounds }: BenchOptions,
) {
  const part = (from: number, to: number): Turn[] =>
    sequences.map((sequence, i) => ({ sequence, tokens: texts[i].subarray(from, to) }));
  const steps = Array.from({ length: generate }, (_, i) => part(promptLength + i, promptLength + i + 1));
  const prompt = part(0, promptLength);
  const { bytesPerToken } = executable.about;
  const size = Math.min(Math.max(bytesPerToken, READ.least), READ.most);
  const seen: Record<'ttft' | 'tpot' | 'tpotOnGpu' | 'ttlt' | 'read' | 'copy', number>[] = [];
  const progress = progressLine('round');
  for (let round = 0; round <= rounds; round++) {
    for (const sequence of sequences) sequence.load();
    executable.wait();
    const begin = performance.now();
    executable.feed(prompt, { logits: 'last' });
    const first = performance.now();
    for (const turns of steps) executable.feed(turns, { logits: 'last' });
    const last = performance.now();
    for (const turns of steps) executable.queue(turns);
    executable.wait();
    const end = performance.now();
    const ttft = first - begin;
    const tpot = (last - first) / generate;
    const tpotOnGpu = (end - last) / generate;
    const bandwidth = executable.bandwidth(size);
    if (round > 0) seen.push({ ttft, tpot, tpotOnGpu, ttlt: last - begin, ...bandwidth });
    progress(round, rounds);
  }
  const of = (value: (round: (typeof seen)[number]) => number) => median(seen.map(value));
  const share = (key: 'read' | 'copy') =>
    texts.length > 1 ? null : of(round => bytesPerToken / (round.tpotOnGpu / 1000) / round[key]);
  return {
    ttftMs: of(({ ttft }) => ttft),
    tpotMs: of(({ tpot }) => tpot),
    tpotOnGpuMs: of(({ tpotOnGpu }) => tpotOnGpu),
    ttltMs: of(({ ttlt }) => ttlt),
    readBandwidth: of(({ read }) => read),
    copyBandwidth: of(({ copy }) => copy),
    readShare: share('read'),
    copyShare: share('copy'),
  };
}

export function table(report: Report): string {
  const { shape, model, recipe, precision, batch, decode, readShare, copyShare } = report;
  const { promptLength, generate } = report;
  const ms = (milliseconds: number, tokens: number) =>
    `${milliseconds.toPrecision(4)} ms, ${((1000 * tokens) / milliseconds).toFixed(1)} tokens/s`;
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const sequences = batch > 1 ? `, ${batch} sequences` : '';
  const launches = report.launches ? `, ${report.launches} launches` : '';
  const [read, copy] = [report.readBandwidth, report.copyBandwidth].map(sizeWords);
  const rows = [
    ['model', `${shape ?? model}, ${recipe}, ${precision}${sequences}`],
    ['runs on', `cuda (${decode}, sm_${report.sm}), ${report.device}, Node ${report.node}`],
    [`TTFT, ${promptLength} tokens`, ms(report.ttftMs, batch * promptLength)],
    ['TPOT', ms(report.tpotMs, batch)],
    ['TPOT, logits left on the GPU', ms(report.tpotOnGpuMs, batch)],
    [`TTLT, ${promptLength} + ${generate} tokens`, `${report.ttltMs.toPrecision(4)} ms`],
    ['moved for each token', sizeWords(report.bytesPerToken) + launches],
    ['a plain read, a plain copy', `${read}/s, ${copy}/s`],
  ];
  if (readShare !== null && copyShare !== null)
    rows.push(['decode moves at', `${percent(readShare)} of the read, ${percent(copyShare)} of the copy`]);
  rows.push(
    ['memory of the GPU', sizeWords(report.memoryBytes)],
    ['load to first token', `${report.loadSeconds.toFixed(2)} s`],
  );
  return align(rows);
}
