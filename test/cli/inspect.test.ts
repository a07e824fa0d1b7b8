/** `quamba inspect`. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openFile } from '../../src/formats/disk.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { EMBEDDED_MODEL, load } from '../../src/open/node.ts';
import { answer, complaint, printed, quamba, workFolder } from './run.ts';
import { toyFiles, writeFolder } from './toy.ts';

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
      /^architecture +mamba$/m,
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
    const values = [...plan.graph.weights.keys()].map(ref => plan.weights.read(ref).data.length);
    const parameters = values.reduce((sum, n) => sum + n);
    expect(said).toMatchObject({
      model: 'text',
      architecture: 'mamba',
      recipe: 'fp32',
      parameters,
      bytes: 4 * parameters,
    });
    // two layers, each f32[48, 3] for the convolution and f32[48, 4] for the scan
    expect(said.stateBytes).toBe(2 * 4 * 48 * (3 + 4));
  });

  it('--plan has one entry a node in at most 100 columns, --layer those of the layer, --json the same rows', async () => {
    const entries = (text: string) => text.trimEnd().split(/\n(?! )/);
    const lines = entries(await inspect('--model', 'quantized', '--plan'));
    const ofLayer = entries(await inspect('--model', 'quantized', '--plan', '--layer', '1'));
    expect(ofLayer).toEqual(lines.filter((line, i) => i === 0 || line.startsWith('layers.1.')));
    for (const line of lines.flatMap(entry => entry.split('\n')))
      expect(line.length).toBeLessThanOrEqual(100);
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
    expect(tensors.map(({ name }) => name)).toEqual([...plan.graph.weights.keys()]);
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
      const { diff } = await answer<{ diff: string[] }>(here, 'inspect', ...args);
      const lines = diff.filter(line => /^[+-] /.test(line));
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
    const printed = await inspect('--recipe', 'naive-static', '--diff', 'quamba', '--layer', '0');
    const signs = printed.trimEnd().split('\n');
    for (const line of signs) expect(line).toMatch(/^[ +-] .{1,98}$/);
    expect(
      signs.filter(line => /^\+ {5}scale: layers.0.scanOut.scale|^\+ {5}x: .*scanOut/.test(line)),
    ).not.toEqual([]);
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
