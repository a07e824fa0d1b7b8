/** `quamba quantize` on toy models: what it writes, what that gives, and what it leaves behind when it fails. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openFile } from '../../src/formats/disk.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { load, textFile } from '../../src/open/node.ts';
import { recipe } from '../../src/quant/recipes.ts';
import { withPercentile } from '../../src/quant/scheme.ts';
import { answer, complaint, printed, quamba, workFolder } from './run.ts';
import { json, safetensorsOf, toyFiles, toyTensors, writeFolder } from './toy.ts';

interface Written {
  readonly out: string;
  readonly recipe: string;
  readonly bytes: number;
  readonly calibration: { readonly text: string; readonly samples: number; readonly window: number } | null;
}

const here = workFolder();
const inHere = (...path: string[]) => join(here, ...path);
const TINY = ['--text', 'prose.txt', '--samples', '3', '--window', '16'];
const quantize = (model: string, out: string, ...args: string[]) =>
  answer<Written>(here, 'quantize', '--model', model, '--out', out, ...args);
const hash = async (...args: string[]): Promise<string> => {
  const said = await answer<{ logitsHash: string }>(here, 'generate', '--max-tokens', '0', ...args);
  return said.logitsHash;
};
const PROMPT = ['--tokens', '97,98,99,100,32,33'];

/** The same bits from the library, calibrated on the fly with TINY. */
async function hashOnTheFly(
  model: string,
  scheme: string | { name: string; scheme: object },
): Promise<string> {
  const text = textFile(inHere('prose.txt'));
  const loaded = await load(inHere(model), { recipe: scheme, text, samples: 3, window: 16 });
  const { data } = loaded.session().feed([97, 98, 99, 100, 32, 33]);
  return createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');
}

beforeAll(async () => {
  writeFolder(inHere('text'), {
    ...toyFiles({ text: true }),
    'generation_config.json': json({ eos_token_id: [1] }),
    'chat_template.jinja': json('a template'),
  });
  writeFileSync(inHere('prose.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(8));
  await quantize('text', 'quantized', ...TINY);
});

describe('the folder that it writes', () => {
  it('holds the checkpoint and what goes with it, and nothing else', async () => {
    expect(readdirSync(inHere('quantized')).sort()).toEqual([
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    for (const file of readdirSync(inHere('quantized')).filter(name => name !== 'model.safetensors'))
      expect(readFileSync(inHere('quantized', file))).toEqual(readFileSync(inHere('text', file)));
  });

  it('is described by --json', async () => {
    expect(await quantize('text', 'described', ...TINY)).toEqual({
      out: 'described',
      recipe: 'quamba',
      bytes: readFileSync(inHere('described', 'model.safetensors')).length,
      calibration: { text: 'prose.txt', samples: 3, window: 16 },
    });
  });

  it('is the same bytes each time', async () => {
    await quantize('text', 'again', ...TINY);
    expect(readFileSync(inHere('again', 'model.safetensors'))).toEqual(
      readFileSync(inHere('quantized', 'model.safetensors')),
    );
  });

  it.each(['quamba', 'smoothquant', 'dynamic'])('gives the bits of %s on the fly', async name => {
    await quantize('text', `as-${name}`, '--recipe', name, ...(name === 'dynamic' ? [] : TINY));
    const expected = await hashOnTheFly('text', name);
    expect(await hash('--model', `as-${name}`, ...PROMPT)).toBe(expected);
    expect(await hash('--model', `as-${name}`, '--recipe', name, ...PROMPT)).toBe(expected);
  });

  it('needs no tokenizer where nothing is calibrated', async () => {
    writeFolder(inHere('ids'), toyFiles());
    expect((await quantize('ids', 'ids-dynamic', '--recipe', 'dynamic')).calibration).toBeNull();
    expect(await hash('--model', 'ids-dynamic', '--tokens', '1,2')).toBe(
      await hash('--model', 'ids', '--recipe', 'dynamic', '--tokens', '1,2'),
    );
  });
});

describe('calibration', () => {
  it('takes the text of the package where none is named', async () => {
    const { calibration } = await quantize('text', 'default-text', '--samples', '1', '--window', '8');
    expect(calibration).toEqual({ text: 'calibration.txt.gz', samples: 1, window: 8 });
  });

  it.each([
    ['--samples', '2'],
    ['--window', '5'],
    ['--percentile', '0.7'],
    ['--text', 'other.txt'],
  ])('depends on %s', async (option, value) => {
    writeFileSync(inHere('other.txt'), 'Zwölf Boxkämpfer jagen Viktor. '.repeat(8));
    const out = `with${option}`;
    await quantize('text', out, ...TINY, option, value);
    expect(await hash('--model', out, ...PROMPT)).not.toBe(await hash('--model', 'quantized', ...PROMPT));
  });

  it('says that its text is too small for the recipe, and how much the recipe wants', async () => {
    const short = ['--text', 'prose.txt', '--window', '16', '--samples', '50', '--json'];
    const warning = async (...args: string[]) => {
      const { code, stdout, stderr } = await quamba(here, 'quantize', '--model', 'text', ...short, ...args);
      expect(code, stderr).toBe(0);
      const { calibration } = JSON.parse(stdout) as Written;
      return [
        calibration?.samples,
        ...stderr.split('\n').filter(line => line.startsWith('calibration text')),
      ];
    };
    const room = 'calibration text prose.txt has room for 22 of 50 samples of 16 tokens; it';
    expect(await warning('--out', 'short', '--recipe', 'quamba-plus')).toEqual([
      22,
      `${room} gives 352 tokens, and recipe quamba-plus wants 2048 or more`,
    ]);
    writeFileSync(inHere('few.txt'), 'It was a dark and stormy night. '.repeat(36));
    const few = ['--text', 'few.txt', '--window', '512', '--samples', '2'];
    expect(await warning('--out', 'few', '--recipe', 'quamba-channels', ...few)).toEqual([
      2,
      'calibration text few.txt gives 1024 tokens, and recipe quamba-channels wants 2048 or more',
    ]);
    expect(await warning('--out', 'enough', ...few)).toEqual([2]);
  });

  it('--percentile is that of the recipe', async () => {
    await quantize('text', 'clipped', ...TINY, '--percentile', '0.9');
    const scheme = withPercentile(recipe('quamba'), 0.9);
    expect(await hash('--model', 'clipped', ...PROMPT)).toBe(
      await hashOnTheFly('text', { name: 'clipped', scheme }),
    );
  });
});

describe('--percentile search', () => {
  const prose = 'The quick brown fox jumps over the lazy dog, and nobody minds. '.repeat(8);
  const search = async (out: string, ...more: string[]) => {
    writeFileSync(inHere('long.txt'), prose);
    const args = ['--text', 'long.txt', '--samples', '3', '--window', '16', '--percentile', 'search'];
    return (await quantize('text', out, ...args, ...more)) as Written & {
      recipe: string;
      search: {
        percentile: number | number[];
        score: number;
        trials: { percentile: unknown; score: number }[];
      };
    };
  };

  it('calibrates once', async () => {
    writeFileSync(inHere('long.txt'), prose);
    const args = ['--text', 'long.txt', '--samples', '4', '--window', '16', '--percentile', 'search'];
    const { code, stderr } = await quamba(here, 'quantize', '--model', 'text', '--out', 'once', ...args);
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/^search: calibrating /m);
    expect(stderr).not.toMatch(/^calibrating /m);
  });

  it('tells what it tried, and writes what that p gives', async () => {
    const { recipe: name, search: found } = await search('searched');
    expect(found.trials.map(({ percentile }) => percentile)).toEqual([1, 0.99999, 0.9999, 0.9995, 0.999]);
    expect(found.score).toBe(Math.min(...found.trials.map(({ score }) => score)));
    expect(name).toBe(`quamba p=${found.percentile}`);
    const args = ['--text', 'long.txt', '--samples', '3', '--window', '16'];
    rmSync(inHere('.cache'), { recursive: true }); // what the search kept is measured anew
    await quantize('text', 'told', ...args, '--percentile', String(found.percentile));
    expect(readFileSync(inHere('searched', 'model.safetensors'))).toEqual(
      readFileSync(inHere('told', 'model.safetensors')),
    );
  });

  it('--per-layer keeps a p for each layer in the recipe', async () => {
    const { search: found } = await search('by-layer', '--per-layer');
    expect(found.trials.length).toBe(5 + 2 * 4);
    const { metadata } = readSafetensors(openFile(inHere('by-layer', 'model.safetensors')));
    expect(JSON.parse(metadata.recipe).scheme.at.scanIn.range.percentile).toEqual(found.percentile);
  });

  it.each<[RegExp, string[]]>([
    [/--per-layer is a way of --percentile search/, ['--per-layer']],
    [
      /--percentile search changes nothing, recipe dynamic/,
      ['--percentile', 'search', '--recipe', 'dynamic'],
    ],
    [/expected a number in \(0, 1\]; got 'seek'/, ['--percentile', 'seek']],
  ])('%s', async (sentence, args) => {
    expect(await complaint(2, here, 'quantize', '--model', 'text', '--out', 'wrong', ...args)).toMatch(
      sentence,
    );
    expect(existsSync(inHere('wrong'))).toBe(false);
  });
});

describe('a recipe of the user', () => {
  it('comes from a JSON file and is called after it', async () => {
    const scheme = recipe('hadamard-only');
    writeFileSync(inHere('mine.json'), JSON.stringify(scheme));
    expect((await quantize('text', 'mine', '--recipe', 'mine.json', ...TINY)).recipe).toBe('mine');
    expect(await hash('--model', 'mine', ...PROMPT)).toBe(await hashOnTheFly('text', 'hadamard-only'));
  });
});

describe('what fails leaves nothing behind', () => {
  beforeAll(() => {
    const nan = toyTensors({ text: true });
    nan['backbone.layers.1.mixer.D'].data[0] = Number.NaN;
    writeFolder(inHere('nan'), { ...toyFiles({ text: true }), 'model.safetensors': safetensorsOf(nan) });
    writeFileSync(inHere('latin1.txt'), Uint8Array.of(0x63, 0xe9));
  });

  it.each<[RegExp, string, string[]]>([
    [/^missing\.txt: no such file or folder/, 'text', ['--text', 'missing.txt']],
    [/^latin1\.txt: expected UTF-8/, 'text', ['--text', 'latin1.txt']],
    [/expected at least 9999 tokens/, 'text', ['--text', 'prose.txt', '--window', '9999']],
    [/^nan\/model\.safetensors: tensor "backbone\.layers\.1\.mixer\.D".*NaN at index 0$/, 'nan', TINY],
  ])('%s', async (sentence, model, args) => {
    expect(
      await complaint(1, here, 'quantize', '--model', model, '--out', 'failed', '--json', ...args),
    ).toMatch(sentence);
    expect(existsSync(inHere('failed'))).toBe(false);
  });

  it('an --out that is a file stays that file', async () => {
    writeFileSync(inHere('taken'), 'mine');
    const args = ['--recipe', 'dynamic', '--json'];
    expect(await complaint(1, here, 'quantize', '--model', 'text', '--out', 'taken', ...args)).toMatch(
      /taken/,
    );
    expect(readFileSync(inHere('taken'), 'utf8')).toBe('mine');
  });

  it.each(['text', './text/', 'quantized/../text'])(
    'an --out that is the model is refused: %s',
    async out => {
      const before = readFileSync(inHere('text', 'model.safetensors'));
      expect(await complaint(2, here, 'quantize', '--model', 'text', '--out', out, ...TINY)).toMatch(
        /folder of the model itself/,
      );
      expect(readFileSync(inHere('text', 'model.safetensors'))).toEqual(before);
    },
  );
});

describe('a quantized folder that does not fit says so', () => {
  const model = () => readFileSync(inHere('quantized', 'model.safetensors'));
  const files = () => ({
    'config.json': json(JSON.parse(readFileSync(inHere('text', 'config.json'), 'utf8'))),
  });

  it('another recipe', async () => {
    const sentence = await complaint(
      1,
      here,
      'generate',
      '--model',
      'quantized',
      '--recipe',
      'fp32',
      ...PROMPT,
    );
    expect(sentence).toBe(
      'quantized/model.safetensors: is quantized by recipe quamba; for fp32 give the folder of the float model',
    );
  });

  it('another config.json', async () => {
    const other = {
      ...JSON.parse(readFileSync(inHere('text', 'config.json'), 'utf8')),
      num_hidden_layers: 3,
    };
    writeFolder(inHere('deeper'), { 'model.safetensors': model(), 'config.json': json(other) });
    expect(await complaint(1, here, 'generate', '--model', 'deeper', ...PROMPT)).toBe(
      'deeper/model.safetensors: was made for a model with layers 2; config.json says 3',
    );
  });

  it('another version of the format', async () => {
    const file = readSafetensors(openFile(inHere('quantized', 'model.safetensors')));
    const stored = [...file.tensors].map(([name, { dtype }]) => [
      name,
      { ...file.read(name), dtype: dtype as 'F32' },
    ]);
    const newer = safetensorsOf(Object.fromEntries(stored), { ...file.metadata, version: '3' });
    writeFolder(inHere('newer'), { 'model.safetensors': newer, ...files() });
    expect(await complaint(1, here, 'generate', '--model', 'newer', ...PROMPT)).toMatch(
      /^newer\/model\.safetensors: plan format version 3 is not known; this quamba reads version 2$/,
    );
  });

  it('a file that was cut off', async () => {
    writeFolder(inHere('cut'), { 'model.safetensors': model().subarray(0, -1), ...files() });
    expect(await complaint(1, here, 'generate', '--model', 'cut', ...PROMPT)).toMatch(
      /^cut\/model\.safetensors: /,
    );
  });
});

it('progress is on stderr, and what was measured once is not measured again', async () => {
  const own = [...TINY, '--window', '15']; // that no other test has measured
  const plain = await quamba(here, 'quantize', '--model', 'text', '--out', 'loud', ...own);
  expect(plain.stdout).toMatch(/^loud\/model\.safetensors: [\d.]+ kB, recipe quamba\n$/);
  expect(plain.stderr).toMatch(/^calibrating 1\/3, /);
  const quiet = await quamba(here, 'quantize', '--model', 'text', '--out', 'quiet', ...own);
  const few = 'calibration text prose.txt gives 45 tokens, and recipe quamba wants 512 or more\n';
  expect([plain.stderr.endsWith(few), quiet.stderr]).toEqual([true, few]);
  const [loud, second] = ['loud', 'quiet'].map(folder => readFileSync(inHere(folder, 'model.safetensors')));
  expect(second).toEqual(loud);
  expect(await printed(here, 'inspect', '--model', 'loud')).toMatch(/3 × 15 tokens of prose\.txt/);
});
