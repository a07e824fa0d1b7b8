/** Checkpoints as their makers publish them, tiny: both namings, both formats; and the commands of docs/real-models.md. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bytesOf, folderOf, fromBytes } from '../../src/formats/bytes.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { toF16 } from '../../src/gguf/ggml.ts';
import { openFloatModel } from '../../src/open/float.ts';
import { openModel } from '../../src/open/model.ts';
import { difference } from '../backends/feeds.ts';
import { quamba, workFolder } from '../cli/run.ts';
import { json, ROUND, writeFolder } from '../cli/toy.ts';
import { concat, safetensors as safetensorsBytes } from '../formats/file.ts';

const file = (path: string) => new Uint8Array(readFileSync(new URL(path, import.meta.url)));

/** The keys of state-spaces/mamba-130m's and mamba2-130m's config.json: no architecture, no model_type. */
const original = {
  d_model: 6,
  n_layer: 2,
  vocab_size: 13, // padded to 16
  ssm_cfg: { d_state: 4, dt_rank: 3 },
  rms_norm: true,
  residual_in_fp32: true,
  fused_add_norm: true,
  pad_vocab_size_multiple: 8,
};
const original2 = {
  ...original,
  d_model: 4,
  vocab_size: 17, // padded to 32
  d_intermediate: 0,
  ssm_cfg: { layer: 'Mamba2', headdim: 4, d_state: 8 },
  attn_layer_idx: [],
  attn_cfg: {},
  pad_vocab_size_multiple: 16,
  tie_embeddings: true,
};
/** The keys of state-spaces/mamba-130m-hf's. */
const hf = {
  architectures: ['MambaForCausalLM'],
  bos_token_id: 0,
  conv_kernel: 4,
  d_inner: 12,
  d_model: 6,
  eos_token_id: 0,
  expand: 2,
  fused_add_norm: true,
  hidden_act: 'silu',
  hidden_size: 6,
  initializer_range: 0.1,
  intermediate_size: 12,
  layer_norm_epsilon: 1e-5,
  model_type: 'mamba',
  n_layer: 2,
  num_hidden_layers: 2,
  pad_token_id: 0,
  pad_vocab_size_multiple: 8,
  rescale_prenorm_residual: false,
  residual_in_fp32: true,
  rms_norm: true,
  ssm_cfg: {},
  state_size: 4,
  time_step_floor: 0.0001,
  time_step_init_scheme: 'random',
  time_step_max: 0.1,
  time_step_min: 0.001,
  time_step_rank: 3,
  time_step_scale: 1.0,
  torch_dtype: 'float32',
  transformers_version: '4.39.0.dev0',
  use_bias: false,
  use_cache: true,
  use_conv_bias: true,
  vocab_size: 16,
};
/** Those of the conversions of Mamba-2 that transformers writes. */
const hf2 = {
  architectures: ['Mamba2ForCausalLM'],
  chunk_size: 256,
  conv_kernel: 4,
  expand: 2,
  head_dim: 4,
  hidden_act: 'silu',
  hidden_size: 4,
  layer_norm_epsilon: 1e-5,
  model_type: 'mamba2',
  n_groups: 1,
  num_heads: 2,
  num_hidden_layers: 2,
  residual_in_fp32: true,
  rms_norm: true,
  state_size: 8,
  tie_word_embeddings: true,
  time_step_limit: [0, { __float__: 'Infinity' }],
  time_step_rank: 1,
  use_bias: false,
  use_conv_bias: true,
  vocab_size: 32,
};
const tokens = Int32Array.of(1, 5, 12, 0, 15);
/** How each dtype lies in a file. */
const ARRAYS: Readonly<Record<string, (values: Float32Array) => ArrayBufferView>> = {
  F32: values => values,
  F16: values => Uint16Array.from(values, toF16),
  BF16: values => new Uint16Array(values.buffer).filter((_, i) => i % 2),
  F64: values => Float64Array.from(values),
};
const made = [
  {
    name: 'mamba',
    original,
    hf,
    known: { vocabSize: 16, dtRank: 3 },
    wider: { d_state: 5, dt_rank: 3 },
    complaint: '[13, 12] by the config; got [11, 12]',
  },
  {
    name: 'mamba2',
    original: original2,
    hf: hf2,
    known: { vocabSize: 32, heads: 2, headDim: 4, groups: 1 },
    wider: { ...original2.ssm_cfg, d_state: 12 },
    complaint: '[42, 4] by the config; got [34, 4]',
  },
].map(each => ({
  ...each,
  bin: file(`../formats/pytorch/valid/${each.name}.bin`),
  safetensors: file(`../formats/pytorch/valid/${each.name}.safetensors`),
}));

async function logits(config: object, weights: Record<string, Uint8Array>) {
  const model = await openModel(folderOf('m', { 'config.json': json(config), ...weights }), {
    backend: 'reference',
  });
  const { data } = model.session().feed(tokens);
  model.dispose();
  return data;
}

describe.each(made)(
  'a checkpoint of $name',
  ({ original, hf, known, wider, complaint, bin, safetensors }) => {
    it('is the same model in either format and under either config', async () => {
      const wanted = await logits(hf, { 'model.safetensors': safetensors });
      expect(wanted).toHaveLength(5 * known.vocabSize);
      for (const config of [original, hf])
        for (const [name, bytes] of Object.entries({
          'pytorch_model.bin': bin,
          'model.safetensors': safetensors,
        }))
          expect(difference(await logits(config, { [name]: bytes }), wanted)).toBe('');
    });

    it('is the same model in F16, BF16 and F64, where they hold its values', async () => {
      const read = readSafetensors(fromBytes('m', safetensors));
      const short = [...read.tensors.keys()].map(name => {
        const { data, shape } = read.read(name);
        return { name, shape, data: Float32Array.from(data, x => ROUND.F16(ROUND.BF16(x))) };
      });
      const files = Object.entries(ARRAYS).map(([dtype, arrayOf]) => {
        let end = 0;
        const arrays = short.map(({ data }) => bytesOf(arrayOf(data)));
        const header = short.map(({ name, shape }, i) => {
          const begin = end;
          end += arrays[i].length;
          return [name, { dtype, shape, data_offsets: [begin, end] }];
        });
        return safetensorsBytes(Object.fromEntries(header), concat(arrays));
      });
      const [wanted, ...others] = await Promise.all(
        files.map(bytes => logits(hf, { 'model.safetensors': bytes })),
      );
      for (const other of others) expect(difference(other, wanted)).toBe('');
    });

    it('has one identity in either format, so that statistics and plans fit both; a head that is tied is not read', () => {
      const open = (weights: Record<string, Uint8Array>) =>
        openFloatModel(folderOf('m', { 'config.json': json(original), ...weights }));
      const [pickled, safe] = [
        open({ 'pytorch_model.bin': bin }),
        open({ 'model.safetensors': safetensors }),
      ];
      expect(pickled.identity()).toBe(safe.identity());
      expect(pickled.config).toMatchObject({ naming: 'state-spaces', ...known });
      expect(pickled.unused).toEqual([]);
    });

    it('of torch.save is refused where a tensor is missing or has another shape', () => {
      const open = (config: object) =>
        openFloatModel(folderOf('m', { 'config.json': json(config), 'pytorch_model.bin': bin }));
      expect(() => open({ ...original, n_layer: 3 })).toThrow(
        /^m\/pytorch_model\.bin: tensor backbone\.layers\.2\.\S+ is missing; the nearest of \d+ is "backbone\.layers\.[01]\.\S+"$/,
      );
      expect(() => open({ ...original, ssm_cfg: wider })).toThrow(complaint);
    });

    it('of torch.save is what every command takes', async () => {
      const work = workFolder();
      writeFolder(`${work}/original`, { 'config.json': json(original), 'pytorch_model.bin': bin });
      const run = async (...args: string[]) => {
        const { code, stdout, stderr } = await quamba(work, ...args);
        expect({ code, stderr: code ? stderr : '' }, args.join(' ')).toEqual({ code: 0, stderr: '' });
        return stdout;
      };
      const sampled = ['--tokens', '1,5', '--max-tokens', '3', '--temperature', '0', '--json'];
      const written = JSON.parse(await run('generate', '--model', 'original', ...sampled));
      expect(written.tokens).toHaveLength(3);
      await run('quantize', '--model', 'original', '--recipe', 'dynamic', '--out', 'quantized');
      expect(JSON.parse(await run('generate', '--model', 'quantized', ...sampled)).tokens).toHaveLength(3);
      await run('export', '--model', 'original', '--out', 'original.gguf');
    });
  },
);

describe('docs/real-models.md', () => {
  const page = readFileSync(new URL('../../docs/real-models.md', import.meta.url), 'utf8');
  const lines = [...page.matchAll(/^npx quamba (.+)$/gm)].map(([, line]) => line);
  const here = workFolder();

  it.each(lines)('%s: its options exist', async line => {
    const [command, ...args] = line.split(' ');
    const { stdout } = await quamba(here, command, '--help');
    for (const option of args.filter(arg => arg.startsWith('--'))) expect(stdout).toContain(`${option} `);
  });

  it('has a row for each size and method, and its averages are those of its rows', () => {
    const rows = [
      ...page.matchAll(/^\| *([\w.]*) *\| (FP16|dynamic|static|SmQ|Quamba) \|((?: *[\d.]+ *\|){7})$/gm),
    ];
    expect(rows).toHaveLength(4 * 5);
    for (const [row, , , figures] of rows) {
      const numbers = figures.split('|').slice(0, 7).map(Number);
      const mean = numbers.slice(0, 6).reduce((sum, x) => sum + x, 0) / 6;
      expect(Math.abs(mean - numbers[6]), row).toBeLessThan(0.04); // some are given to one digit
    }
  });
});
