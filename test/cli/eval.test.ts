/** `quamba eval`: figures, tasks, partial results. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { load } from '../../src/open/node.ts';
import { randomModel } from '../../src/random/model.ts';
import { shapes } from '../../src/random/shapes.ts';
import { toy } from '../toy.ts';
import { answer, complaint, printed, workFolder } from './run.ts';
import { toyFiles, writeFolder } from './toy.ts';

const here = workFolder();
const PROSE = 'The quick brown fox jumps over the lazy dog. '.repeat(8);
const PIQA = [
  { goal: 'To open a door,', sol1: 'push it.', sol2: 'sing.', label: 0 },
  { goal: 'To see the stars,', sol1: 'dig.', sol2: 'look up at night.', label: 1 },
  { goal: 'To warm the hands,', sol1: 'rub them.', sol2: 'count them.', label: 0 },
];
const text = ['--model', 'text', '--text', 'prose.txt', '--window', '16', '--rounds', '0'];

beforeAll(() => {
  writeFolder(join(here, 'text'), toyFiles({ text: true }));
  writeFileSync(join(here, 'prose.txt'), PROSE);
  writeFileSync(join(here, 'piqa.jsonl'), PIQA.map(item => `${JSON.stringify(item)}\n`).join(''));
});

type Row = Record<string, number | string>;

describe('a size that no Hadamard matrix has', () => {
  const config = { ...shapes['mamba-130m'], layers: 1, dModel: 86, dInner: 172, dtRank: 6, vocabSize: 40 };
  const odd = { ...toy, config, program: randomModel(config, 1) };
  const refused = (name: string, what: string, field: string) =>
    new RegExp(
      `^recipe ${name} rotates ${what}, and ${field} has no Hadamard matrix \\(n must be .*\\); recipes that work: fp32, .*naive-static.*$`,
    );
  const calibrated = /calibrating/;

  it('is told with the field and the recipes that work, before anything is calibrated', async () => {
    writeFolder(join(here, 'odd'), toyFiles({ of: odd, text: true }));
    const [model, recipe] = [
      ['--model', 'odd'],
      ['--recipe', 'naive-static,dynamic,quamba'],
    ];
    const asked = ['eval', ...model, '--text', 'prose.txt', '--window', '16', '--rounds', '0', ...recipe];
    for (const args of [
      asked,
      ['ablate', ...model, ...recipe, '--text', 'prose.txt', '--calibration', 'prose.txt'],
      ['quantize', ...model, '--out', 'odd-out', '--text', 'prose.txt'],
      ['quantize', ...model, '--out', 'odd-out', '--percentile', 'search', '--text', 'prose.txt'],
    ]) {
      const said = await complaint(1, here, ...args);
      expect(said).toMatch(refused('quamba', 'scanOut', 'd_inner 172'));
      expect(said).not.toMatch(calibrated);
      expect(said).not.toMatch(/that work:.*(quamba|rotated|quarot)/);
    }
    const residual = ['generate', ...model, '--recipe', 'quamba-plus', '--prompt', 'a'];
    expect(await complaint(1, here, ...residual)).toMatch(
      refused('quamba-plus', 'the residual stream', 'd_model 86'),
    );
  });
});

it('gives the perplexity that the logits give', async () => {
  // 50 tokens: three windows of 16
  const asked = [...text, '--limit', '50', '--recipe', 'fp32,dynamic'];
  const { results, ...about } = await answer<{ results: Row[] }>(here, 'eval', ...asked);
  expect(about).toEqual({
    model: 'text',
    backend: 'wasm',
    text: { name: 'prose.txt', window: 16, windows: 3 },
  });
  expect(results.map(row => row.recipe)).toEqual(['fp32', 'dynamic']);
  const near = (actual: unknown, expected: number) =>
    expect(Math.abs((actual as number) / expected - 1)).toBeLessThan(1e-12);
  const float = await logProbabilities('fp32');
  for (const { recipe, nats, nllSum, kl, top1, bytes, stateBytes, ...row } of results) {
    const own = await logProbabilities(recipe as string);
    const nll = own.reduce((sum, { next, of }) => sum - of[next], 0);
    near(nllSum, nll);
    near(nats, nll / 45);
    expect(row).toEqual({ windows: 3, window: 16, tokens: 45, perplexity: Math.exp(nats as number) });
    const inspected = await answer<Row>(
      here,
      'inspect',
      ...['--model', 'text', '--recipe', recipe as string],
    );
    expect({ bytes, stateBytes }).toEqual({ bytes: inspected.bytes, stateBytes: inspected.stateBytes });
    const divergences = own.map(({ of }, t) =>
      float[t].of.reduce((sum, p, i) => sum + Math.exp(p) * (p - of[i]), 0),
    );
    const likeliest = (of: readonly number[]) => of.indexOf(Math.max(...of));
    const same = own.filter(({ of }, t) => likeliest(of) === likeliest(float[t].of)).length;
    expect(top1).toBe(same / 45);
    if (recipe === 'fp32') expect(kl).toBe(0);
    else expect(Math.abs((kl as number) * 45 - divergences.reduce((a, b) => a + b))).toBeLessThan(1e-9);
    expect(kl as number).toBeGreaterThanOrEqual(0);
  }
  expect(results[1].kl).toBeGreaterThan(0);
});

/** log p of each next byte in the first three windows of 16, each from an empty state; and which it was. */
async function logProbabilities(recipe: string) {
  const bytes = Buffer.from(PROSE);
  const rows: { next: number; of: number[] }[] = [];
  for (const window of [0, 16, 32]) {
    const session = (await load(join(here, 'text'), { recipe })).session();
    for (let i = 0; i < 15; i++) {
      const logits = Array.from(session.feed([bytes[window + i]]).data);
      const top = Math.max(...logits);
      const total = Math.log(logits.reduce((all, logit) => all + Math.exp(logit - top), 0));
      rows.push({ next: bytes[window + i + 1], of: logits.map(logit => logit - top - total) });
    }
  }
  return rows;
}

it('without fp32 has nothing to compare with; tokens per second are measured unless there are no rounds', async () => {
  const asked = [...text, '--limit', '16', '--recipe', 'dynamic', '--rounds', '1'];
  const { results } = await answer<{ results: Row[] }>(here, 'eval', ...asked);
  const keys = ['bytes', 'decode', 'nats', 'nllSum', 'perplexity', 'prefill', 'recipe', 'stateBytes'];
  expect(Object.keys(results[0]).sort()).toEqual([...keys, 'tokens', 'window', 'windows']);
  expect(results[0].prefill).toBeGreaterThan(0);
  expect(results[0].decode).toBeGreaterThan(0);
});

it('writes a page and plots of what it measured', async () => {
  const to = ['--html', 'page.html', '--svg', 'plots'];
  const { results } = await answer<{ results: Row[] }>(
    here,
    'eval',
    ...[...text, '--recipe', 'fp32,dynamic', '--task', 'piqa', '--data', 'piqa.jsonl', ...to],
  );
  const page = readFileSync(join(here, 'page.html'), 'utf8');
  for (const { recipe, perplexity } of results) {
    expect(page).toContain(recipe);
    expect(page).toContain((perplexity as number).toFixed(3));
  }
  expect(page).toContain('prose.txt');
  expect(page).toContain('piqa acc, %');
  const plots = readdirSync(join(here, 'plots'));
  expect(plots.length).toBeGreaterThan(0);
  for (const plot of plots) expect(readFileSync(join(here, 'plots', plot), 'utf8')).toMatch(/^<svg /);
});

it('is a table, against the float model, and one of tasks', async () => {
  const asked = [
    ...text,
    '--limit',
    '16',
    '--recipe',
    'dynamic,fp32',
    '--task',
    'piqa',
    '--data',
    'piqa.jsonl',
  ];
  const [results, tasks] = (await printed(here, 'eval', ...asked)).trimEnd().split('\n\n');
  const [head, dynamic, fp32] = results.split('\n');
  expect(head).toMatch(
    /^recipe +nats\/token +perplexity +against fp32 +KL, nats +same top token, % +weights +state$/,
  );
  const sizes = '[\\d.]+ kB +[\\d.]+ kB$';
  expect(dynamic).toMatch(
    new RegExp(`^dynamic +[\\d.]+ +[\\d.]+ +[+−][\\d.]+ % +0\\.0\\d+ +[\\d.]+ +${sizes}`),
  );
  expect(fp32).toMatch(new RegExp(`^fp32 +[\\d.]+ +[\\d.]+ +0\\.00000 +100\\.00 +${sizes}`));
  const [taskHead, ...scores] = tasks.split('\n');
  expect(taskHead).toMatch(/^recipe +piqa acc, % +piqa acc_norm, %$/);
  for (const score of scores) expect(score).toMatch(/^\w+ +[\d.]+ ± [\d.]+ +[\d.]+ ± [\d.]+$/);
});

describe('tasks', () => {
  const piqa = ['--model', 'text', '--recipe', 'fp32', '--rounds', '0', '--task', 'piqa', '--data'];

  it('gives acc, acc_norm, stderr and n, for each recipe; in a folder the file is called after the task', async () => {
    const { results } = await answer<{ results: Row[] }>(here, 'eval', ...piqa, 'piqa.jsonl');
    const [{ recipe, bytes, stateBytes, ...row }] = results;
    const figures = {
      acc: expect.any(Number),
      acc_norm: expect.any(Number),
      stderr: expect.any(Number),
      n: 3,
    };
    expect(row).toEqual({ ...figures, tasks: { piqa: { ...figures, acc_norm_stderr: expect.any(Number) } } });
    expect(await answer(here, 'eval', ...piqa, '.')).toEqual({ model: 'text', backend: 'wasm', results });
    const first = await answer<{ results: Row[] }>(here, 'eval', ...piqa, 'piqa.jsonl', '--limit', '1');
    expect(first.results[0]).toMatchObject({ n: 1, stderr: null });
  });

  it('says what is wrong with a file', async () => {
    writeFileSync(join(here, 'wrong.jsonl'), `${JSON.stringify({ ...PIQA[0], label: 2 })}\n`);
    expect(await complaint(1, here, 'eval', ...piqa, 'wrong.jsonl')).toBe(
      'wrong.jsonl: item 1: label expected a whole number 0 … 1; got 2',
    );
    expect(await complaint(1, here, 'eval', ...piqa, 'text')).toBe(
      'text: expected one file piqa.jsonl, .json or .txt (or .gz of it); got none',
    );
  });
});

describe('partial results', () => {
  const asked = [...text, '--recipe', 'fp32,dynamic', '--task', 'piqa', '--data', 'piqa.jsonl'];

  it('of all shards join to the run that was not sharded, printed byte for byte', async () => {
    for (const i of [0, 1, 2])
      await answer(here, 'eval', ...asked, '--shard', `${i}/3`, '--out', `${i}.json`);
    const whole = await printed(here, 'eval', ...asked, '--json');
    expect(await printed(here, 'eval', 'merge', '2.json', '0.json', '1.json', '--json')).toBe(whole);
    expect(await printed(here, 'eval', 'merge', '0.json', '1.json', '2.json')).toMatch(/^recipe +nats/);
    expect(await complaint(1, here, 'eval', 'merge', '0.json', '2.json')).toBe(
      'expected all of 3 shards; missing 1',
    );
  });

  it('are gone on from, and give the same', async () => {
    const whole = await printed(here, 'eval', ...asked, '--out', 'kept.json', '--json');
    const kept = JSON.parse(readFileSync(join(here, 'kept.json'), 'utf8'));
    const full = JSON.stringify(kept);
    kept.parts[0].windows.splice(7);
    kept.parts[1].windows.splice(3, 4);
    kept.parts[1].tasks.piqa.shift();
    // what is there is not measured again: a wrong sum of a window stays
    kept.parts[1].windows[0].nll += 1;
    writeFileSync(join(here, 'kept.json'), JSON.stringify(kept));
    const again = JSON.parse(await printed(here, 'eval', ...asked, '--out', 'kept.json', '--json'));
    const expected = JSON.parse(whole);
    expect(again.results[0]).toEqual(expected.results[0]);
    expect(again.results[1].tasks).toEqual(expected.results[1].tasks);
    expect(again.results[1].nllSum).toBeCloseTo(expected.results[1].nllSum + 1, 9);
    expect(readFileSync(join(here, 'kept.json'), 'utf8').length).toBeGreaterThan(full.length - 100);
  });

  it('of another run are refused, and stay as they are', async () => {
    await answer(here, 'eval', ...text, '--recipe', 'fp32', '--limit', '32', '--out', 'other.json');
    const before = readFileSync(join(here, 'other.json'), 'utf8');
    const other = [...text, '--recipe', 'fp32', '--out', 'other.json', '--limit'];
    expect(await complaint(1, here, 'eval', ...other, '48')).toBe(
      'other.json: is of another run; the limit: 32 there, 48 here',
    );
    expect(readFileSync(join(here, 'other.json'), 'utf8')).toBe(before);
    writeFileSync(join(here, 'half.json'), '{"format":');
    expect(await complaint(1, here, 'eval', 'merge', 'half.json')).toMatch(/^half\.json: expected JSON; /);
    writeFileSync(join(here, 'strange.json'), '{}');
    expect(await complaint(1, here, 'eval', 'merge', 'strange.json')).toBe(
      'strange.json: is not a partial result of quamba eval',
    );
  });
});
