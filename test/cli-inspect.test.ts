/** `quamba inspect` and `quamba eval`. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openFile } from '../src/formats/disk.ts';
import { readSafetensors } from '../src/formats/safetensors.ts';
import { EMBEDDED_MODEL, load } from '../src/load.ts';
import { answer, complaint, printed, quamba, workFolder } from './cli-run.ts';
import { toyFiles, writeFolder } from './cli-toy.ts';

const here = workFolder();
const inspect = (...args: string[]) => printed(here, 'inspect', ...args);
const PROSE = 'The quick brown fox jumps over the lazy dog. '.repeat(8);

beforeAll(async () => {
  writeFolder(join(here, 'text'), toyFiles({ text: true }));
  writeFileSync(join(here, 'prose.txt'), PROSE);
  const tiny = ['--text', 'prose.txt', '--samples', '2', '--window', '16', '--json'];
  await printed(here, 'quantize', '--model', 'text', '--out', 'quantized', ...tiny);
});

describe('inspect', () => {
  it('sums a model up', async () => {
    const said = await inspect('--model', 'quantized');
    for (const line of [
      /^model +quantized$/m,
      /^ +layers +2$/m,
      /^ +vocabSize +257$/m,
      /^recipe +quamba /m,
      /^calibrated on +2 × 16 tokens of prose\.txt$/m,
      /^state +[\d.]+ kB for a text of any length$/m,
    ])
      expect(said).toMatch(line);
  });

  it('gives the same as data', async () => {
    const said = await answer<Record<string, number>>(here, 'inspect', '--model', 'text', '--recipe', 'fp32');
    const { plan } = await load(join(here, 'text'), { recipe: 'fp32' });
    const values = plan.graph.weights.map(ref => plan.weights.read(ref).data.length);
    const parameters = values.reduce((sum, n) => sum + n);
    expect(said).toMatchObject({ model: 'text', recipe: 'fp32', parameters, bytes: 4 * parameters });
    // two layers, each f32[48, 3] for the convolution and f32[48, 4] for the scan
    expect(said.stateBytes).toBe(2 * 4 * 48 * (3 + 4));
  });

  it('--plan has one line a node, --layer those of the layer, --json the same rows', async () => {
    const lines = (await inspect('--model', 'quantized', '--plan')).trimEnd().split('\n');
    const ofLayer = (await inspect('--model', 'quantized', '--plan', '--layer', '1')).trimEnd().split('\n');
    expect(ofLayer).toEqual(lines.filter((line, i) => i === 0 || line.startsWith('layers.1.')));
    const { plan } = await answer<{ plan: { value: string }[] }>(
      here,
      'inspect',
      '--model',
      'quantized',
      '--plan',
    );
    expect(plan.map(({ value }) => value)).toEqual(lines.slice(1).map(line => line.split(' ')[0]));
    expect(await complaint(2, here, 'inspect', '--model', 'quantized', '--plan', '--layer', '2')).toMatch(
      /0 … 1; got 2/,
    );
  });

  it('--tensors lists every constant, int8 weights among them', async () => {
    const { tensors } = await answer<{ tensors: { name: string; type: string; bytes: number }[] }>(
      here,
      'inspect',
      '--model',
      'quantized',
      '--tensors',
    );
    const { plan } = await load(join(here, 'quantized'));
    expect(tensors.map(({ name }) => name)).toEqual([...plan.graph.weights]);
    const int8 = tensors.filter(({ type }) => type.startsWith('i8['));
    expect(int8.length).toBeGreaterThanOrEqual(2 * 5);
    for (const { type, bytes } of int8)
      expect(bytes).toBe(
        type
          .match(/\d+/g)!
          .slice(1)
          .reduce((size, extent) => size * Number(extent), 1),
      );
  });

  it('--diff of naive-static and quamba is about the nodes at scanOut, and a number at scanIn', async () => {
    const differ = async (other: string) => {
      const args = ['--recipe', 'naive-static', '--diff', other, '--layer', '0'];
      const lines = (await inspect(...args)).split('\n').filter(line => /^[+-] /.test(line));
      const of = (sign: string) => lines.filter(line => line.startsWith(sign)).map(line => line.slice(2));
      return { less: of('-'), more: of('+') };
    };
    const { less, more } = await differ('quamba');
    const at = (site: string, lines: string[]) => lines.filter(line => line.includes(`layers.0.${site}`));
    expect(at('scanOut', more).some(line => line.includes('fwht'))).toBe(true);
    expect(at('scanOut', less).some(line => line.includes('fwht'))).toBe(false);

    const rest = (lines: string[]) => lines.filter(line => !line.includes('layers.0.scanOut'));
    const withoutScale = (line: string) =>
      line.replace(/(scanIn\.scale) = [\d.e-]+/, '$1').replace(/ +/g, ' ');
    expect(rest(more).length).toBeGreaterThan(0);
    expect(rest(more)).not.toEqual(rest(less));
    expect(rest(more).map(withoutScale)).toEqual(rest(less).map(withoutScale));

    expect(await differ('naive-static')).toEqual({ less: [], more: [] });
  });
});

describe('inspect --verify', () => {
  const verify = async (folder: string) => {
    type Verified = { files: { file: string; whole: boolean }[] };
    return (await answer<Verified>(here, 'inspect', '--verify', '--model', folder)).files;
  };

  it('finds a whole file whole', async () => {
    expect(await verify('quantized')).toEqual([{ file: 'model.safetensors', whole: true }]);
    expect(await inspect('--verify', '--model', 'quantized')).toMatch(/every byte is as it was saved/);
  });

  it('finds one byte that identity does not look at', async () => {
    const folder = writeFolder(join(here, 'flipped'), {});
    const path = join(folder, 'model.safetensors');
    copyFileSync(join(EMBEDDED_MODEL, 'plan.quamba.safetensors'), path);
    expect(await verify('flipped')).toMatchObject([{ whole: true }]);

    const source = openFile(path);
    const large = [...readSafetensors(source).tensors.values()].find(
      t => t.dtype === 'I8' && t.end - t.begin > 3 * 4096,
    );
    source.close();
    const bytes = readFileSync(path);
    bytes[large!.begin + 1] ^= 1; // identity reads every third value at most, the first among them
    writeFileSync(path, bytes);
    expect((await load(folder)).info.recipe.name).toBe('quamba');
    const line = await quamba(here, 'inspect', '--verify', '--model', 'flipped');
    expect(line.stdout).toMatch(/^model\.safetensors: bytes have changed since it was saved$/m);
    expect(line.code).toBe(1);
  });
});

describe('eval', () => {
  it('gives the perplexity that the logits give', async () => {
    const { results } = await answer<{ results: Record<string, number | string>[] }>(
      here,
      'eval',
      ...[
        '--model',
        'text',
        '--text',
        'prose.txt',
        '--window',
        '16',
        '--windows',
        '3',
        '--recipe',
        'fp32,dynamic',
      ],
    );
    expect(results.map(row => row.recipe)).toEqual(['fp32', 'dynamic']);
    const near = (actual: unknown, expected: number) =>
      expect(Math.abs((actual as number) / expected - 1)).toBeLessThan(1e-12);
    const float = await logProbabilities('fp32');
    for (const { recipe, nats, nllSum, kl, top1, bytes, ...row } of results) {
      const own = await logProbabilities(recipe as string);
      const nll = own.reduce((sum, { next, of }) => sum - of[next], 0);
      near(nllSum, nll);
      near(nats, nll / 45);
      expect(row).toEqual({ windows: 3, window: 16, tokens: 45, perplexity: Math.exp(nats as number) });
      const { bytes: inMemory } = await answer<{ bytes: number }>(
        here,
        'inspect',
        ...['--model', 'text', '--recipe', recipe as string],
      );
      expect(bytes).toBe(inMemory);
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

  it('without fp32 has nothing to compare with', async () => {
    const few = ['--text', 'prose.txt', '--window', '16', '--windows', '1'];
    const { results } = await answer<{ results: object[] }>(
      here,
      'eval',
      ...['--model', 'text', '--recipe', 'dynamic', ...few],
    );
    expect(Object.keys(results[0]).sort()).toEqual(
      ['bytes', 'nats', 'nllSum', 'perplexity', 'recipe', 'tokens', 'window', 'windows'].sort(),
    );
  });

  it('is a table, against its first recipe', async () => {
    const few = ['--text', 'prose.txt', '--window', '16', '--windows', '1'];
    const table = await printed(here, 'eval', '--model', 'text', '--recipe', 'dynamic,fp32', ...few);
    const [head, dynamic, fp32] = table.trimEnd().split('\n');
    expect(head).toMatch(
      /^recipe +nats\/token +perplexity +against dynamic +KL to fp32 +same top token +in memory$/,
    );
    expect(dynamic).toMatch(/^dynamic +[\d.]+ +[\d.]+ +\+0\.00 % +0\.0\d+ +[\d.]+ % +[\d.]+ kB$/);
    expect(fp32).toMatch(/^fp32 +[\d.]+ +[\d.]+ +[+-][\d.]+ % +0\.00000 +100\.00 % +[\d.]+ kB$/);
  });
});
