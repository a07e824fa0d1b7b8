/**
 * Model folders that are wrong in one place. Whatever the place, loading either works or ends with one sentence that names
 * the file; no error of JavaScript's own comes through, and nothing large is allocated for what a file only claims.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { folderOf, fromBytes } from '../../src/formats/bytes.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { openModel } from '../../src/open/model.ts';
import { savePlan } from '../../src/quant/checkpoint.ts';
import {
  byteTokenizer,
  type Files,
  hfConfig,
  json,
  safetensorsOf,
  type Tensors,
  toyFiles,
  toyTensors,
} from '../cli/toy.ts';
import { concat } from '../formats/file.ts';
import { toy } from '../toy.ts';

/** Errors that tell of a mistake in this program, not in the file. */
const OWN =
  /Cannot (read|convert|set|mix)|is not (a function|iterable|defined|a constructor)|Invalid (array|typed)|allocation|Maximum call/;

/** The sentence that loading a folder and reading two tokens ends with; null where all went well. */
async function sentence(files: Files, recipe?: string): Promise<string | null> {
  try {
    const model = await openModel(folderOf('m', files), { recipe });
    const { data } = model.session().feed([1, 2]);
    expect(data.every(Number.isFinite), 'logits are finite').toBe(true);
    if ('tokenizer.json' in files) model.tokenizer.decode(model.tokenizer.encode('ab c'));
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
const float = (files: Files) => sentence(files, 'fp32');

/** Nothing went wrong, or what did is said properly. */
function expectClear(message: string | null, file: RegExp): void {
  if (message === null) return;
  expect(message).toMatch(file);
  expect(message).not.toMatch(OWN);
  expect(message).not.toMatch(/\n|\[object/);
  expect(message.length).toBeLessThan(1000);
}

const good = toyFiles();
const tensors = toyTensors();
const names = Object.keys(tensors);
const anyName = fc.constantFrom(...names);
const withTensors = (change: Tensors): Files => ({
  ...good,
  'model.safetensors': safetensorsOf({ ...tensors, ...change }),
});
const few = { numRuns: 40 };

it('the folder that all of these spoil is good', async () => {
  expect(await float(good)).toBeNull();
});

describe('weights', () => {
  it.each(names)('without %s', async name => {
    const { [name]: _, ...rest } = tensors;
    expect(await float({ ...good, 'model.safetensors': safetensorsOf(rest) })).toContain(
      `m/model.safetensors: tensor ${name} is missing; the nearest of `,
    );
  });

  it('of another shape', async () => {
    const shapes = [
      (shape: readonly number[]) => [...shape, 1],
      (shape: readonly number[]) => [1, ...shape],
      (shape: readonly number[]) => [shape.reduce((a, b) => a * b), 1, 1, 1],
    ];
    await fc.assert(
      fc.asyncProperty(anyName, fc.constantFrom(...shapes), async (name, reshape) => {
        const changed = { ...tensors[name], shape: reshape(tensors[name].shape) };
        const message = await float(withTensors({ [name]: changed }));
        expect(message).toContain(`m/model.safetensors: tensor ${name} expected shape [`);
      }),
      few,
    );
  });

  it('of another size', async () => {
    await fc.assert(
      fc.asyncProperty(anyName, async name => {
        const { shape, dtype, data } = tensors[name];
        const longer = [shape[0] + 1, ...shape.slice(1)];
        const size = longer.reduce((a, b) => a * b);
        const changed = { dtype, shape: longer, data: new Float32Array(size).fill(data[0]) };
        expect(await float(withTensors({ [name]: changed }))).toMatch(
          /^m\/model\.safetensors: tensor \S+ expected shape .* by the config; got /,
        );
      }),
      few,
    );
  });

  it('of integers', async () => {
    await fc.assert(
      fc.asyncProperty(anyName, async name => {
        const { shape, data } = tensors[name];
        const changed = { dtype: 'I8' as const, shape, data: new Int8Array(data.length) };
        expect(await float(withTensors({ [name]: changed }))).toBe(
          `m/model.safetensors: tensor ${name} expected F32, F16, BF16, F64; got I8`,
        );
      }),
      few,
    );
  });

  it('that are not finite', async () => {
    const wrong = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    await fc.assert(
      fc.asyncProperty(anyName, fc.nat(), wrong, async (name, where, value) => {
        const data = Float32Array.from(tensors[name].data);
        data[where % data.length] = value;
        expect(await float(withTensors({ [name]: { ...tensors[name], data } }))).toBe(
          `m/model.safetensors: tensor "${name}": expected finite values; got ${value} at index ${where % data.length}`,
        );
      }),
      few,
    );
  });

  it('cut off anywhere', async () => {
    const whole = good['model.safetensors'];
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: whole.length - 1 }), async length => {
        const message = await float({ ...good, 'model.safetensors': whole.subarray(0, length) });
        expect(message).not.toBeNull();
        expectClear(message, /^m\/model\.safetensors: /);
      }),
      few,
    );
  });
});

/** JSON with one value somewhere in it replaced. */
function spoilt<T>(value: T, path: readonly number[], by: unknown): unknown {
  const keys = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  if (path.length === 0 || keys.length === 0) return by;
  const key = keys[path[0] % keys.length];
  const inner = spoilt((value as Record<string, unknown>)[key], path.slice(1), by);
  return Array.isArray(value) ? value.with(Number(key), inner) : { ...value, [key]: inner };
}
const path = fc.array(fc.nat(), { minLength: 1, maxLength: 6 });
const odd = fc.oneof(
  fc.constantFrom(
    null,
    true,
    '',
    '__proto__',
    [],
    {},
    0,
    -1,
    0.5,
    1e300,
    2 ** 24,
    2 ** 31,
    2 ** 53,
    'x'.repeat(5000),
  ),
  fc.jsonValue({ maxDepth: 2 }),
);

describe('config.json', () => {
  it('with one value replaced', async () => {
    await fc.assert(
      fc.asyncProperty(path, odd, async (at, value) => {
        const files = { ...good, 'config.json': json(spoilt(hfConfig(toy.config), at, value)) };
        expectClear(await float(files), /^m\/(config\.json|model\.safetensors): /);
      }),
      { numRuns: 300 },
    );
  });

  it('that claims a giant allocates nothing for it', async () => {
    const keys = [
      'hidden_size',
      'vocab_size',
      'state_size',
      'num_hidden_layers',
      'intermediate_size',
      'conv_kernel',
    ];
    const before = process.memoryUsage().rss;
    for (const key of keys)
      for (const claim of [4096, 2 ** 24, 2 ** 40]) {
        const files = { ...good, 'config.json': json({ ...hfConfig(toy.config), [key]: claim }) };
        const message = await float(files);
        expect(message, `${key} ${claim}`).not.toBeNull();
        expectClear(message, /^m\/(config\.json|model\.safetensors): /);
      }
    expect(process.memoryUsage().rss - before).toBeLessThan(300e6);
  });
});

describe('tokenizer.json', () => {
  const files = toyFiles({ text: true });

  it('with one value replaced', async () => {
    expect(await float(files)).toBeNull();
    await fc.assert(
      fc.asyncProperty(path, odd, async (at, value) => {
        const tokenizer = json(spoilt(byteTokenizer(), at, value));
        expectClear(await float({ ...files, 'tokenizer.json': tokenizer }), /^m\/tokenizer\.json: /);
      }),
      { numRuns: 150 },
    );
  });

  it('whose bytes are not JSON', async () => {
    for (const bytes of [new Uint8Array(0), Uint8Array.of(0xff), Buffer.from('{"a":1,"a":2}')])
      expectClear(await float({ ...files, 'tokenizer.json': bytes }), /^m\/tokenizer\.json: /);
  });
});

describe('a quantized checkpoint', () => {
  let plan: ReturnType<typeof readSafetensors>;
  let stored: Tensors;
  const planWith = (metadata: Record<string, string>): Files => ({
    'model.safetensors': safetensorsOf(stored, { ...plan.metadata, ...metadata }),
  });

  beforeAll(async () => {
    const { plan: program, info } = await openModel(folderOf('m', good), { recipe: 'dynamic' });
    plan = readSafetensors(fromBytes('plan', concat(savePlan(program, info))));
    stored = Object.fromEntries(
      [...plan.tensors].map(([name, { dtype }]) => [name, { ...plan.read(name), dtype: dtype as 'F32' }]),
    );
    expect(await sentence(planWith({}))).toBeNull();
  });

  it.each(['graph', 'recipe', 'config', 'calibration'])('with one value of its %s replaced', async key => {
    await fc.assert(
      fc.asyncProperty(path, odd, async (at, value) => {
        const changed = JSON.stringify(spoilt(JSON.parse(plan.metadata[key]), at, value));
        expectClear(await sentence(planWith({ [key]: changed })), /^m\/model\.safetensors: /);
      }),
      { numRuns: 150 },
    );
  });

  it('with metadata that is no JSON', async () => {
    for (const key of ['graph', 'recipe', 'config', 'calibration']) {
      const message = await sentence(planWith({ [key]: '{' }));
      expect(message).toContain(`m/model.safetensors: metadata ${key}: expected JSON`);
    }
  });

  it('with one byte of a tensor changed', async () => {
    const bytes = planWith({})['model.safetensors'];
    const begin = Math.min(...[...readSafetensors(fromBytes('m', bytes)).tensors.values()].map(t => t.begin));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: begin, max: bytes.length - 1 }), async at => {
        const flipped = Uint8Array.from(bytes);
        flipped[at] ^= 1;
        const message = await sentence({ 'model.safetensors': flipped });
        expect(message).toMatch(/^m\/model\.safetensors: (has changed since|tensor)/);
      }),
      few,
    );
  });
});
