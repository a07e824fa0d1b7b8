/**
 * Every kind of file that comes from outside, changed at random: each is taken, or refused in one sentence that names the file. No
 * error of JavaScript's own comes through, and memory is bounded.
 *
 * QUAMBA_FUZZ_FILES says how many (400 by default), QUAMBA_FUZZ_SEED which.
 */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parsePartial } from '../../src/eval/partial.ts';
import { readItems } from '../../src/eval/task-files.ts';
import type { TaskName } from '../../src/eval/tasks.ts';
import { folderOf } from '../../src/formats/bytes.ts';
import { parseJson } from '../../src/formats/json.ts';
import { openFloatModel } from '../../src/open/float.ts';
import { openModel } from '../../src/open/model.ts';
import { calibrate } from '../../src/quant/calibrate.ts';
import { savePlan } from '../../src/quant/checkpoint.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { parseRecipe } from '../../src/quant/scheme.ts';
import { saveStats } from '../../src/quant/stats.ts';
import { createSession } from '../../src/session.ts';
import { type Files, hfConfig, json, sharded, toyFiles, toyTensors } from '../cli/toy.ts';
import { concat, safetensors, utf8 } from '../formats/file.ts';
import { sentenceFault } from '../sentence.ts';
import { random, runnableOf, toy } from '../toy.ts';

const COUNT = Number(process.env.QUAMBA_FUZZ_FILES ?? 400);
const SEED = Number(process.env.QUAMBA_FUZZ_SEED ?? 1);
const MOST_MEGABYTES = 1000; // of the whole process; 170 were measured

type Random = () => number;
const upTo = (n: number, next: Random): number => Math.floor(next() * n);
const pick = <T>(items: readonly T[], next: Random): T => items[upTo(items.length, next)];

const NUMBERS = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 2 ** 40, 2 ** 53];
const CHANGES: readonly ((bytes: Buffer, at: number, next: Random) => Buffer)[] = [
  (bytes, at, next) => {
    bytes[at] ^= 1 << upTo(8, next);
    return bytes;
  },
  (bytes, at, next) => {
    bytes[at] = upTo(256, next);
    return bytes;
  },
  (bytes, at, next) => {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(BigInt(pick(NUMBERS, next)));
    value.copy(bytes, at, 0, pick([2, 4, 8], next));
    return bytes;
  },
  (bytes, at, next) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + upTo(64, next))]),
  (bytes, at, next) => Buffer.concat([bytes.subarray(0, at + upTo(64, next)), bytes.subarray(at)]),
  (bytes, at) => bytes.subarray(0, at),
];

/** Up to three changes. Half of them lie in the first 2,000 bytes, or in the last, where formats say what they hold. */
function changedBytes(good: Uint8Array, next: Random): Uint8Array {
  let bytes: Buffer = Buffer.from(good);
  for (let left = 1 + upTo(3, next); left > 0 && bytes.length > 0; left--) {
    const near = Math.min(2000, bytes.length);
    const at = pick([upTo(bytes.length, next), upTo(near, next), bytes.length - 1 - upTo(near, next)], next);
    bytes = pick(CHANGES, next)(bytes, at, next);
  }
  return new Uint8Array(bytes);
}

// biome-ignore format: a table
const VALUES = [
  'null', 'true', '0', '1', '2', '-1', '0.5', '1e400', '5e-324', '16777217', '9007199254740993', '""', '"__proto__"',
  '"constructor"', '"\\ud800"', '"\\u0000"', '"\\u202e"', '[]', '{}', '[[]]', '[0,0]', '{"a":1}', `"${'x'.repeat(5000)}"`,
];
// biome-ignore format: a table
const WORDS = [...VALUES, '{"a":1,"a":2}', 'NaN', 'Infinity', '[', '}', ',', ':', '['.repeat(200), '{"a":'.repeat(500)];
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|\w+|[{}[\],:\n]/g;
const CHANGES_OF_TEXT: readonly ((tokens: string[], at: number, next: Random) => unknown)[] = [
  (tokens, at, next) => tokens.splice(at, 1, pick(WORDS, next)),
  (tokens, at) => tokens.splice(at, 1),
  (tokens, at, next) => tokens.splice(at, 0, pick(tokens, next)),
  (tokens, at) => tokens.splice(at),
];

/** Half of the time one value is another, or two have changed places, and it is JSON still; else up to three words are changed. */
function changedText(good: string, next: Random): string {
  const tokens = good.match(TOKENS) ?? [];
  const isValue = (at: number) => /[\w"]/.test(tokens[at]) && tokens[at + 1] !== ':';
  const values = [...tokens.keys()].filter(isValue);
  if (next() < 0.5 && values.length > 0) {
    const [at, other] = [pick(values, next), pick(values, next)];
    if (next() < 0.7) tokens[at] = pick(VALUES, next);
    else [tokens[at], tokens[other]] = [tokens[other], tokens[at]];
  } else
    for (let left = 1 + upTo(3, next); left > 0 && tokens.length > 0; left--)
      pick(CHANGES_OF_TEXT, next)(tokens, upTo(tokens.length, next), next);
  return tokens.join('');
}
const changedJson = (good: Uint8Array, next: Random): Uint8Array =>
  next() < 0.2 ? changedBytes(good, next) : utf8(changedText(Buffer.from(good).toString(), next));

/** Half of the time its header alone, with the length put right. */
function changedSafetensors(good: Uint8Array, next: Random): Uint8Array {
  if (next() < 0.5) return changedBytes(good, next);
  const end = 8 + Number(Buffer.from(good).readBigUInt64LE());
  return safetensors(changedText(Buffer.from(good.subarray(8, end)).toString(), next), good.subarray(end));
}

interface Kind {
  readonly good: Uint8Array;
  readonly changed: (good: Uint8Array, next: Random) => Uint8Array;
  /** Reads the file as whoever uses it does. */
  readonly read: (bytes: Uint8Array) => unknown;
  readonly named: RegExp;
}

/** A file of a folder that is good but for it; `or` is what an error may begin with in place of its name. */
function inFolder(file: string, folder: Files, changed: Kind['changed'], recipe = 'fp32', or = file): Kind {
  return {
    good: folder[file],
    changed,
    named: new RegExp(`^(?:m/(?:${file}|model.safetensors)(?:/data.pkl)?: |${or})`),
    async read(bytes) {
      const model = await openModel(folderOf('m', { ...folder, [file]: bytes }), { recipe });
      model.session().feed([1, 2]);
      if ('tokenizer.json' in folder) model.tokenizer.decode(model.tokenizer.encode('ab c'));
      model.dispose();
    },
  };
}

const folder = toyFiles();
const text = toyFiles({ text: true });
const pieces = { ...sharded(toyTensors()), 'config.json': folder['config.json'] };

function withStats(name: 'quamba' | 'w4a8'): Files {
  const { program, identity } = openFloatModel(folderOf('m', folder));
  const info = {
    recipe: recipes[name],
    source: identity(),
    calibration: { text: 't', samples: 2, window: 9 },
  };
  const stats = calibrate(program, recipes[name], toy.samples);
  return { ...folder, [`stats.${name}.safetensors`]: concat(saveStats(stats, info)) };
}

async function plan(): Promise<Files> {
  const model = await openModel(folderOf('m', folder), { recipe: 'dynamic' });
  return { 'model.safetensors': concat(savePlan(model.plan, model.info)) };
}

function pytorch(): Kind {
  const file = (path: string) =>
    new Uint8Array(readFileSync(new URL(`../formats/pytorch/valid/${path}`, import.meta.url)));
  const config = { d_model: 6, n_layer: 2, vocab_size: 13, ssm_cfg: { d_state: 4, dt_rank: 3 } };
  const about = { rms_norm: true, residual_in_fp32: true, fused_add_norm: true, pad_vocab_size_multiple: 8 };
  const files = { 'config.json': json({ ...config, ...about }), 'pytorch_model.bin': file('mamba.bin') };
  return inFolder('pytorch_model.bin', files, changedBytes);
}

function items(task: TaskName, rows: readonly unknown[]): Kind {
  return {
    good: utf8(rows.map(row => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n')),
    changed: changedJson,
    named: /^items: /,
    read: bytes => readItems(task, { name: 'items', text: Buffer.from(bytes).toString() }),
  };
}

const ofJson = (name: string, good: unknown, read: (value: unknown, where: string) => unknown): Kind => ({
  good: json(good),
  changed: changedJson,
  named: new RegExp(`^${name}\\b`),
  read: bytes => read(parseJson(bytes, name), name),
});

function state(): Kind {
  const runnable = runnableOf(toy, recipes.quamba, 'quamba');
  const session = createSession(runnable);
  session.feed([1, 2, 3]);
  const good = session.snapshot();
  return {
    good,
    changed: changedSafetensors,
    named: /^state: /,
    read(bytes) {
      const other = createSession(runnable);
      other.restore(bytes);
      expect(other.snapshot(), 'a state that is taken is the one that was saved').toEqual(good);
      other.close();
    },
  };
}

const settings = { recipes: [{ name: 'fp32', scheme: {} }], float: null, text: null, tasks: [] };
const partial = {
  format: 'quamba-eval',
  version: 1,
  model: 'm',
  settings,
  shard: { index: 0, count: 1 },
  parts: [],
};
const arc = { question: 'q', choices: { text: ['a', 'b', 'c'], label: ['A', 'B', 'C'] }, answerKey: 'B' };
const piqa = { goal: 'g', sol1: 'a', sol2: 'b', label: 1 };
const grande = { sentence: 'Ann thanked _ now.', option1: 'Eve', option2: 'Joe', answer: '2' };
const swag = ['Tea: A pot. the cup', '1', 'a', 'b', 'c', 'd'];

const kinds = async (): Promise<Readonly<Record<string, Kind>>> => ({
  safetensors: inFolder('model.safetensors', folder, changedSafetensors),
  index: inFolder('model.safetensors.index.json', pieces, changedJson),
  shard: inFolder(
    'model-00001-of-00002.safetensors',
    pieces,
    changedSafetensors,
    'fp32',
    'm/model.safetensors.index.json: tensor .* is not in "model-00001',
  ),
  config: inFolder('config.json', { ...folder, 'config.json': json(hfConfig(toy.config)) }, changedJson),
  tokenizer: inFolder('tokenizer.json', text, changedJson),
  'tokenizer config': inFolder(
    'tokenizer_config.json',
    text,
    changedJson,
    'fp32',
    'm/tokenizer.json: .* which tokenizer_config.json names',
  ),
  pickle: pytorch(),
  stats: inFolder('stats.quamba.safetensors', withStats('quamba'), changedSafetensors, 'quamba'),
  hessians: inFolder(
    'stats.w4a8.safetensors',
    withStats('w4a8'),
    changedSafetensors,
    'w4a8',
    'quantize: a Hessian',
  ),
  plan: inFolder('model.safetensors', await plan(), changedSafetensors, 'dynamic'),
  state: state(),
  recipe: ofJson('recipe', recipes['quamba-plus'], parseRecipe),
  partial: ofJson('partial', partial, parsePartial),
  arc: items('arc_easy', [arc, arc]),
  piqa: items('piqa', [piqa, piqa]),
  winogrande: items('winogrande', [grande]),
  hellaswag: items('hellaswag', [...swag, ...swag]),
});

it(`${COUNT} files`, { timeout: 0 }, async () => {
  const all = Object.entries(await kinds());
  for (const { good, read } of all.map(([, kind]) => kind)) await read(good);
  const counts: Record<string, { taken: number; refused: number }> = {};
  const wrong: string[] = [];
  let slowest = 0;
  for (let i = 0; i < COUNT; i++) {
    const [name, { good, changed, read, named }] = all[i % all.length];
    const count = (counts[name] ??= { taken: 0, refused: 0 });
    const bytes = changed(good, random(SEED * 1_000_003 + i));
    const begin = performance.now();
    const message = await (async () => read(bytes))().then(
      () => undefined,
      (error: Error) => error.message,
    );
    slowest = Math.max(slowest, performance.now() - begin);
    count[message === undefined ? 'taken' : 'refused']++;
    if (message === undefined) continue;
    if (!named.test(message) || sentenceFault(message))
      wrong.push(`file ${i} of seed ${SEED}, ${name}: ${message.slice(0, 300)}`);
  }
  const megabytes = process.resourceUsage().maxRSS / 1024;
  console.log(
    `files: ${JSON.stringify(counts)}; slowest ${(slowest / 1000).toFixed(2)} s; at most ${megabytes.toFixed(0)} MB`,
  );
  expect(wrong).toEqual([]);
  expect(megabytes).toBeLessThan(MOST_MEGABYTES);
});
