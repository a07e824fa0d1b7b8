/** `quamba generate` on toy models, against the library and against itself. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openFolder } from '../../src/formats/disk.ts';
import { openFloatModel } from '../../src/open/float.ts';
import { load } from '../../src/open/node.ts';
import { calibrate, needsCalibration } from '../../src/quant/calibrate.ts';
import { type RecipeName, recipes } from '../../src/quant/recipes.ts';
import { saveStats } from '../../src/quant/stats.ts';
import { toy } from '../toy.ts';
import { answer, printed, quamba, workFolder } from './run.ts';
import { toyFiles, writeFolder } from './toy.ts';

interface Answer {
  readonly text: string;
  readonly tokens: number[];
  readonly promptTokens: number[];
  readonly finishReason: string;
  readonly recipe: string;
  readonly backend: string;
  readonly logitsHash: string;
  readonly tokensPerSecond: { readonly prefill: number; readonly decode: number };
}

const here = workFolder();
const generate = (...args: string[]) => answer<Answer>(here, 'generate', ...args);
/** Without tokenizer.json, with what calibration saw. */
const ids = (recipe: string, ...args: string[]) => generate('--model', 'toy', '--recipe', recipe, ...args);
/** With a tokenizer of bytes. */
const text = (...args: string[]) => generate('--model', 'text', '--recipe', 'fp32', ...args);

beforeAll(() => {
  const folder = writeFolder(join(here, 'toy'), toyFiles());
  const { program, identity } = openFloatModel(openFolder(folder));
  for (const [name, recipe] of Object.entries(recipes)) {
    if (!needsCalibration(program, recipe)) continue;
    const stats = calibrate(program, recipe, toy.samples);
    const calibration = { text: 'seeded', samples: toy.samples.length, window: toy.samples[0].length };
    const chunks = saveStats(stats, { recipe, source: identity(), calibration });
    writeFileSync(join(folder, `stats.${name}.safetensors`), Buffer.concat([...chunks]));
  }
  writeFolder(join(here, 'text'), toyFiles({ text: true }));
});

/** sha256 over the float32 bits, little-endian, of the logits of every token fed, one token at a time. */
async function hashOf(folder: string, recipe: RecipeName, fed: readonly number[]): Promise<string> {
  const session = (await load(join(here, folder), { recipe })).session();
  const hash = createHash('sha256');
  for (const token of fed)
    for (const logit of session.feed([token]).data) {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(logit);
      hash.update(bytes);
    }
  return hash.digest('hex');
}

describe('--json', () => {
  it('has the fields that it promises', async () => {
    const { tokensPerSecond, ...answered } = await text('--prompt', 'ab', '--max-tokens', '3');
    expect(answered).toEqual({
      model: 'text',
      text: expect.any(String),
      tokens: [expect.any(Number), expect.any(Number), expect.any(Number)],
      promptTokens: [97, 98],
      finishReason: 'length',
      recipe: 'fp32',
      backend: 'wasm',
      seed: 1,
      logitsHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      answerHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(Object.keys(tokensPerSecond).sort()).toEqual(['decode', 'prefill']);
    for (const rate of Object.values(tokensPerSecond)) expect(rate).toBeGreaterThan(0);
  });

  it.each(Object.keys(recipes) as RecipeName[])('logitsHash is that of the library: %s', async recipe => {
    const {
      tokens,
      logitsHash,
      recipe: said,
    } = await ids(recipe, '--tokens', '3,1,4,1,5', '--max-tokens', '4');
    expect(said).toBe(recipe);
    expect(logitsHash).toBe(await hashOf('toy', recipe, [3, 1, 4, 1, 5, ...tokens.slice(0, -1)]));
  });

  it('logitsHash covers the prompt alone where nothing is written', async () => {
    const { tokens, logitsHash } = await ids('fp32', '--tokens', '7,8', '--max-tokens', '0');
    expect(tokens).toEqual([]);
    expect(logitsHash).toBe(await hashOf('toy', 'fp32', [7, 8]));
  });
});

describe('tokens', () => {
  it('feed a model without a tokenizer, whose text is empty', async () => {
    const { promptTokens, tokens, text } = await ids('dynamic', '--tokens', '1,2,3', '--max-tokens', '3');
    expect({ promptTokens, text }).toEqual({ promptTokens: [1, 2, 3], text: '' });
    expect(tokens).toHaveLength(3);
  });

  it('are the same as the prompt that they spell', async () => {
    const { tokensPerSecond: _, ...spelt } = await text('--prompt', 'abc', '--max-tokens', '3');
    const { tokensPerSecond: __, ...listed } = await text('--tokens', '97,98,99', '--max-tokens', '3');
    expect(listed).toEqual(spelt);
  });
});

describe('sampling', () => {
  const most = ['--max-tokens', '12'];

  it('at temperature 0 takes the likeliest token, whatever the seed', async () => {
    const { tokens } = await ids('fp32', '--tokens', '9', ...most, '--temperature', '0', '--seed', '5');
    const session = (await load(join(here, 'toy'), { recipe: 'fp32' })).session();
    const likeliest = [9];
    for (const _ of tokens) {
      const { data } = session.feed([likeliest.at(-1)!]);
      likeliest.push(data.indexOf(Math.max(...data)));
    }
    expect(tokens).toEqual(likeliest.slice(1));
  });

  it('with a seed draws the same again; other seeds draw otherwise', async () => {
    const draw = async (seed: string) =>
      (await ids('fp32', '--tokens', '9', ...most, '--temperature', '2', '--seed', seed)).tokens;
    const [once, again, other] = [await draw('1'), await draw('1'), await draw('2')];
    expect(again).toEqual(once);
    expect(other).not.toEqual(once);
  });

  it('--top-k 1 leaves only the likeliest, --top-k and --min-p reach the sampler', async () => {
    const of = async (...how: string[]) =>
      (await ids('fp32', '--tokens', '9', ...most, '--temperature', '2', ...how)).tokens;
    const greedy = await of('--temperature', '0');
    expect(await of('--top-k', '1')).toEqual(greedy);
    expect(await of('--min-p', '1')).toEqual(greedy);
    expect(await of('--top-p', '0.000001')).toEqual(greedy);
    expect(await of('--top-p', '1')).not.toEqual(greedy);
  });

  it('--repetition-penalty keeps greedy writing from repeating', async () => {
    const of = async (penalty: string) =>
      (await ids('fp32', '--tokens', '9', ...most, '--temperature', '0', '--repetition-penalty', penalty))
        .tokens;
    const distinct = (tokens: number[]) => new Set(tokens).size;
    expect(distinct(await of('1000000'))).toBeGreaterThan(distinct(await of('1')));
  });
});

it('--stop ends the text before the stop text', async () => {
  const how = ['--prompt', 'a', '--max-tokens', '24', '--temperature', '3'];
  const whole = await text(...how);
  const [stop] = /[!-~]/.exec(whole.text.slice(1)) ?? [];
  expect(stop, 'the toy should write something printable').toBeDefined();
  const cut = await text(...how, '--stop', stop!, 'never written');
  expect(cut.finishReason).toBe('stop');
  expect(cut.text).toBe(whole.text.slice(0, whole.text.indexOf(stop!)));
  expect(whole.tokens.slice(0, cut.tokens.length)).toEqual(cut.tokens);
});

it('without --json stdout holds the prompt and the text, stderr the rest', async () => {
  const how = ['--model', 'text', '--recipe', 'fp32', '--prompt', 'ab', '--max-tokens', '6'];
  const { text } = await generate(...how);
  const plain = await quamba(here, 'generate', ...how);
  expect(plain.stdout).toBe(`ab${text}\n`);
  expect(plain.stderr).toMatch(/^\nfp32 on wasm: 6 tokens, prefill [\d.]+\/s, decode [\d.]+\/s\n$/);
  expect(await printed(here, 'generate', ...how.slice(0, 4), '--tokens', '97,98', '--max-tokens', '6')).toBe(
    plain.stdout,
  );
});
