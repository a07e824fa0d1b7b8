/** What the lesson about Mamba-2 computes, against the ops, the graphs and the trained model. */
import { ops, type Tensor } from 'quamba';
import { beforeAll, describe, expect, it } from 'vitest';
import { openFolder } from '../../src/formats/disk.ts';
import { parseConfig } from '../../src/model/index.ts';
import { openFloatModel, readConfig } from '../../src/open/float.ts';
import { interpret } from '../../src/run.ts';
import { statesBytes } from '../../src/state.ts';
import { cut } from '../../web/src/lessons/cut.ts';
import { gateOf, PLACES } from '../../web/src/lessons/gate.ts';
import { groupOf } from '../../web/src/lessons/head-groups.ts';
import type { SsdSample } from '../../web/src/lessons/sample.ts';
import { courseOf, decaysOf, headOf, headsOf, leftOf, stepsOf } from '../../web/src/lessons/ssd.ts';
import { stateSizes } from '../../web/src/lessons/state-sizes.ts';

const FOLDER = 'models/mamba2-books-15m';
const LAYER = 2;
/** “The old man sat at the window and” */
const TOKENS = Int32Array.of(485, 668, 435, 1006, 361, 261, 1990, 281);

/** Of the trained model, as scripts/web-samples.mjs writes it; and what the block itself gives to out_proj. */
let sample: SsdSample;
let scanOut: Float32Array;
beforeAll(() => {
  const { program, close } = openFloatModel(openFolder(FOLDER));
  const seen = new Map<string, Tensor<'f32'>>();
  const feed = {
    observe: (_: unknown, ref: string, { shape, data }: Tensor<'f32'>) => keep(ref, shape, data),
  };
  const keep = (ref: string, shape: readonly number[], data: Float32Array) =>
    seen.set(ref, { dtype: 'f32', shape, data: data.slice() });
  interpret(program).open().feed(TOKENS, feed);
  const at = (site: string) => seen.get(`layers.${LAYER}.${site}`)!;
  const weight = (name: string) =>
    program.weights.read(`backbone.layers.${LAYER}.mixer.${name}`) as Tensor<'f32'>;
  sample = {
    ...{ layer: LAYER, tokens: Array.from(TOKENS, String) },
    ...{ x: at('scanIn'), z: at('gate'), B: at('B'), C: at('C'), dt: at('dt') },
    ...{ bias: weight('dt_bias'), ALog: weight('A_log'), D: weight('D'), norm: weight('norm.weight') },
    outWeight: cut(weight('out_proj.weight'), { rows: 64 }),
  };
  scanOut = at('scanOut').data;
  close();
});

describe('a head', () => {
  it('has the bits that the scan of all heads gives it', () => {
    const all = headsOf(sample);
    const { y, S } = ops.ssdScan({ ...all });
    for (const head of [0, 7, 11]) {
      const course = courseOf(headOf(all, head));
      expect(course.y.data).toEqual(cut(y, { begin: 64 * head, end: 64 * (head + 1) }).data);
      const size = 128 * 64;
      expect(course.states.at(-1)!.data).toEqual(S.data.slice(head * size, (head + 1) * size));
    }
  });

  it('decays by exp(ΔA), with what is added to dt', () => {
    for (const added of [0, -3, 5]) {
      const heads = headsOf(sample, 4, t => (t === 2 ? added : 0));
      const [decays, steps] = [decaysOf(heads), stepsOf(heads)];
      expect(decays.shape).toEqual([4, 12]);
      for (const [i, decay] of decays.data.entries()) {
        const dt = sample.dt.data[i] + (Math.floor(i / 12) === 2 ? added : 0);
        const step = Math.log1p(Math.exp(dt + sample.bias.data[i % 12]));
        expect(steps.data[i]).toBeCloseTo(step, 5);
        expect(decay).toBeCloseTo(Math.exp(-step * Math.exp(sample.ALog.data[i % 12])), 5);
      }
    }
  });

  it('keeps of what a token wrote the product of the decays since', () => {
    const t = 2;
    const alone = headOf(headsOf(sample), 4);
    const x = { ...alone.x, data: alone.x.data.map((value, i) => (Math.floor(i / 64) === t ? value : 0)) };
    const { states } = courseOf({ ...alone, x });
    const left = leftOf(decaysOf(alone), t);
    const largest = states[t].data.reduce((a, b, i, all) => (Math.abs(b) > Math.abs(all[a]) ? i : a), 0);
    expect([...left.slice(0, t)]).toEqual([0, 0]);
    for (let i = t; i < states.length; i++)
      expect(states[i].data[largest] / states[t].data[largest]).toBeCloseTo(left[i], 5);
  });

  it('reads the group of B and C that the figure says', () => {
    const [h, groups] = [6, 3];
    const f32 = (shape: readonly number[], of: (i: number) => number): Tensor<'f32'> => {
      const size = shape.reduce((a, b) => a * b);
      return { dtype: 'f32', shape, data: Float32Array.from({ length: size }, (_, i) => of(i)) };
    };
    for (let group = 0; group < groups; group++) {
      const only = f32([1, 4 * groups], i => (Math.floor(i / 4) === group ? 1 : 0));
      const one = f32([1, h], () => 1);
      const A = f32([h, 1], () => -1);
      const { y } = ops.ssdScan({ dt: one, x: one, A, B: only, C: only }, { g: groups });
      expect([...y.data].map(value => value !== 0)).toEqual(
        Array.from({ length: h }, (_, head) => groupOf(head, groups, h) === group),
      );
    }
  });
});

describe('between scan and out_proj', () => {
  it('the values are those of the block, and int8 costs most where the scan wrote them', () => {
    const found = gateOf(sample);
    expect(found.gated.values).toEqual(scanOut);
    const { y, gated, rotated } = found;
    expect(y.error).toBeGreaterThan(gated.error);
    expect(gated.error).toBeGreaterThan(rotated.error);
    expect(rotated.error).toBeLessThan(0.05); // the weight is where the rotation went, and the norm's weight
    for (const length of rotated.lengths) expect(length).toBeCloseTo(1, 3);
    for (const place of PLACES) expect(found[place].errors).toHaveLength(TOKENS.length);
  });

  it('a token by itself has the error that it has among the others, squares added', () => {
    const { gated } = gateOf(sample);
    const exact = ops.linear({ x: { ...sample.z, data: scanOut }, w: sample.outWeight }).y;
    const size = (t: number) =>
      cut(exact, { first: t, rows: 1 }).data.reduce((sum, value) => sum + value ** 2, 0);
    const sizes = gated.errors.map((_, t) => size(t));
    const all = gated.errors.reduce((sum, error, t) => sum + error ** 2 * sizes[t], 0);
    expect(gated.error ** 2).toBeCloseTo(all / sizes.reduce((a, b) => a + b), 8);
  });
});

describe('states and decays', () => {
  it('are those of the graphs', () => {
    for (const name of ['mamba-books-15m', 'mamba2-books-15m']) {
      const folder = openFolder(`models/${name}`);
      const { layers, ssmBytes, convBytes } = stateSizes(readConfig(folder));
      const { program, close } = openFloatModel(folder);
      expect(layers * (ssmBytes + convBytes), name).toBe(statesBytes(program.graph.states, 0));
      close();
    }
  });

  it('are one decay for each channel and state, or for each head', () => {
    const common = { num_hidden_layers: 3, hidden_size: 16, vocab_size: 5 };
    const one = parseConfig({ ...common, model_type: 'mamba', state_size: 8 }, 'mamba');
    expect(stateSizes(one)).toMatchObject({ layers: 3, channels: 32, stateSize: 8, decays: 256 });
    const heads = { head_dim: 8, num_heads: 4, n_groups: 2, state_size: 12 };
    const two = parseConfig({ ...common, ...heads, model_type: 'mamba2' }, 'mamba2');
    expect(stateSizes(two)).toMatchObject({ layers: 3, channels: 32, stateSize: 12, decays: 4 });
  });
});
