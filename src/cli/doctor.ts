/** `quamba doctor`: what quamba runs on here, what it chose, and why. */

import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import type { Command } from 'commander';
import type { Backend } from '../backends/backend.ts';
import { defaultBackend } from '../backends/index.ts';
import { optional } from '../backends/node.ts';
import { noThreads } from '../backends/wasm/threads.ts';
import { probes } from '../backends/wasm/variants.ts';
import { sizeWords } from '../eval/report/words.ts';
import { openFolder } from '../formats/disk.ts';
import { modelFolder } from '../hub/cache.ts';
import { defaultContext } from '../open/model.ts';
import { load } from '../open/node.ts';
import { openPlan } from '../open/plan.ts';
import { align } from '../plan/render.ts';
import { contextOf, sizesOf } from '../plan/sizes.ts';
import { command, type OptionsOf, option, refuse } from './command.ts';
import { contextOption, jsonOption } from './options.ts';
import { printAs } from './terminal.ts';

const OPTIONS = [
  option('--model <dir>', 'tells what this model will take, before it is loaded', path => modelFolder(path)),
  contextOption,
  jsonOption,
] as const;

export const doctorCommand = command(
  'doctor',
  'Tells what quamba runs on here: engine, kernels, threads, memory, and whether the bits are right.',
  OPTIONS,
  `
Examples:
  quamba doctor
  quamba doctor --model mamba-130m
  quamba doctor --json`,
).action(doctor);

/** A few tokens: all but the last go through prefill, the last through decode. */
const TOKENS = [510, 1543, 3081, 7, 99, 1000];

/** The logits of a few tokens of the embedded model. */
async function logits(backend: string | Backend, threads = 1): Promise<Float32Array> {
  const model = await load(undefined, { backend, threads });
  try {
    const session = model.session();
    session.feed(TOKENS.slice(0, -1));
    return session.feed(TOKENS.slice(-1)).data;
  } finally {
    model.dispose();
  }
}

/** What a model takes, and by which recipe. */
async function sizesOfModel(path: string, context?: number) {
  const unprepared = () => Promise.reject(new Error(`doctor: ${path} is not prepared`));
  const { plan, info, close } = await openPlan(openFolder(path), {}, unprepared);
  close();
  const most = contextOf(plan, context ?? defaultContext(info.config));
  return { path, recipe: info.recipe.name, ...sizesOf(plan, most) };
}

const inWords = ({ recipe, weights, states, cachePerToken, context, cache }: ModelSizes): string =>
  [
    `as ${recipe}: weights ${sizeWords(weights)}`,
    `states ${sizeWords(states)} for each text`,
    ...(cache === undefined
      ? ['of any length']
      : [
          `${sizeWords(cachePerToken)} for each token`,
          `${sizeWords(cache)} at the context of ${context} (--context)`,
        ]),
  ].join(', ');
type ModelSizes = Awaited<ReturnType<typeof sizesOfModel>>;

async function doctor(
  { model: path, context, json }: OptionsOf<typeof OPTIONS>,
  self: Command,
): Promise<void> {
  if (path === undefined) refuse(self, ['--context'], 'without --model');
  const model = path === undefined ? undefined : await sizesOfModel(path, context);
  const kernels = probes().map(({ name, variant, why }) => ({ name, usable: variant !== undefined, why }));
  const chosen = kernels.find(({ usable }) => usable)?.name ?? null;
  const backend = defaultBackend();
  const without = noThreads();
  const most = without ? 1 : availableParallelism();
  const others = Object.entries(optional).map(([name, open]) => ({ name, found: open() }));
  const expected = await logits('reference');
  const same = (actual: Float32Array) => expected.every((x, i) => Object.is(x, actual[i]));
  const sameBits: Record<string, boolean> = {};
  if (backend !== 'reference')
    for (const threads of new Set([1, Math.min(2, most)]))
      sameBits[threads] = same(await logits(backend, threads));
  for (const { name, found } of others)
    if (!('why' in found)) sameBits[name] = same(await logits(found.backend));
  const report = {
    node: process.version,
    engine: process.versions.v8,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    backend,
    kernels: { chosen, tried: kernels },
    threads: {
      most,
      shared: without === undefined,
      why: without ?? 'SharedArrayBuffer and workers are there',
    },
    memory: { total: totalmem(), free: freemem(), most: 2 ** 32 },
    ...Object.fromEntries(
      others.map(({ name, found }) => [name, 'why' in found ? { why: found.why } : found.about]),
    ),
    ...(model && { model }),
    sameBits,
  };
  const wrong = Object.values(sameBits).includes(false);
  if (wrong) process.exitCode = 1;
  const memory = `${sizeWords(totalmem())}, free ${sizeWords(freemem())}`;
  const rows = [
    ['node', `${report.node} (V8 ${report.engine}) on ${report.platform}, ${report.cpu}`],
    ['backend', backend],
    ...kernels.map(({ name, usable, why }) => [
      name,
      `${name === chosen ? 'chosen' : usable ? 'not needed' : 'not used'}: ${why}`,
    ]),
    ['threads', `${without ? '1' : `1 to ${most} (--threads)`}: ${report.threads.why}`],
    ['memory', `${memory}; one model holds at most ${sizeWords(report.memory.most)}`],
    ...(model ? [['model', inWords(model)]] : []),
    ...others.map(({ name, found }) => [
      name,
      'why' in found ? `not used: ${found.why}` : `--backend ${name}: ${found.says}`,
    ]),
    ...Object.entries(sameBits).map(([on, yes]) => [
      'bits',
      `the reference's on ${on === '1' ? '1 thread' : Number(on) ? `${on} threads` : on}: ${yes ? 'yes' : 'NO'}`,
    ]),
  ];
  printAs(json, report, () => align(rows));
}
