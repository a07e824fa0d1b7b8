/**
 * Whole plans by the cuda backend, on a library in JavaScript: what is handed over, whose state it is, several sequences, errors.
 * On a GPU: scripts/test-cuda.mjs.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { DECODES, PRECISIONS, STATUS } from '../../../src/backends/cuda/abi.ts';
import type { NativeTensor, PlanOptions } from '../../../src/backends/cuda/functions.ts';
import { backendOf, cudaOf } from '../../../src/backends/cuda/index.ts';
import { type CudaExecutable, openPlan } from '../../../src/backends/cuda/plan.ts';
import { nativeTensors } from '../../../src/backends/cuda/tensors.ts';
import { reportOf, table } from '../../../src/cli/bench-cuda.ts';
import { conformance } from '../../../src/conformance/suite.ts';
import type { State } from '../../../src/executable.ts';
import { graphToJson } from '../../../src/plan/graph-json.ts';
import { calibrate } from '../../../src/quant/calibrate.ts';
import { savePlan } from '../../../src/quant/checkpoint.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import { initialState, interpret } from '../../../src/run.ts';
import { answer, complaint, printed, workFolder } from '../../cli/run.ts';
import { toyFiles, writeFolder } from '../../cli/toy.ts';
import { planOfToy, sameBits, statsOfToy, toy } from '../../toy.ts';
import { type Call, fakeLibrary } from './fake.ts';

const plan = planOfToy(toy, recipes.quamba);
const start = initialState(plan);
const text = toy.text;
const [first, second, other] = [text.slice(0, 9), text.slice(9, 14), text.slice(14, 19)];
const reference = interpret(plan);

const same = (actual: State, expected: State) => {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const ref in expected) expect(sameBits(actual[ref].data, expected[ref].data), ref).toBe(true);
};
/** A plan on a fake library, and what that was called with since. */
function opened(options: PlanOptions = {}): { executable: CudaExecutable; calls: Call[] } {
  const calls: Call[] = [];
  const executable = openPlan(fakeLibrary({}, calls), plan, options);
  calls.length = 0;
  return { executable, calls };
}
const names = (calls: readonly Call[]) => calls.map(([name]) => name);

describe('the conformance suite on a library that computes the reference', () => {
  const cases = conformance(backendOf(fakeLibrary())).filter(
    ({ address, quick }) => quick && /^(?:state|plan|block)\//.test(address),
  );
  it('has cases', () => expect(cases.length).toBeGreaterThan(40));
  it.each(cases.map(c => [c.address, c] as const))('%s', (_, { run }) =>
    expect(run()).toMatchObject({ outcome: 'pass' }),
  );
});

describe('a plan', () => {
  it('is handed over as the JSON of a checkpoint, its constants by name, and the options as numbers', () => {
    const calls: Call[] = [];
    const options = { sequences: 2, chunk: 64, decode: 'persistent', precision: 'exact' } as const;
    openPlan(fakeLibrary({}, calls), plan, options);
    const [, json, weights, count, given] = calls.find(([name]) => name === 'quamba_open')! as [
      string,
      string,
      NativeTensor[],
      number,
      object,
    ];
    const info = { config: toy.config, recipe: { name: 'x', scheme: {} }, source: '', calibration: null };
    const file = Buffer.concat([...savePlan(plan, info)]);
    const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE(0))).toString());
    expect(json).toBe(header.__metadata__.graph);
    expect(weights.map(({ name }) => name)).toEqual([...plan.graph.weights.keys()]);
    expect(count).toBe(plan.graph.weights.size);
    expect(given).toEqual({
      sequences: 2,
      chunk: 64,
      precision: PRECISIONS.exact,
      decode: DECODES.persistent,
    });
  });

  it('says what runs it', () => {
    const { executable } = opened();
    expect(executable.about).toEqual({
      kernels: 'graph, sm_87',
      threads: 1,
      memoryBytes: 1e6,
      bytesPerToken: 1000,
      sequences: 1,
      decode: 'graph',
      launches: 5,
    });
    expect(executable.readBandwidth(1)).toBe(3e12);
    expect(executable.bandwidth(1)).toEqual({ read: 3e12, copy: 2e12 });
  });

  it('that the library refuses is an error in its words', () => {
    expect(() => openPlan(fakeLibrary(), plan, { precision: 'f16' })).toThrow('f16 needs a float plan');
    const none = fakeLibrary({ quamba_open: () => STATUS.OUT_OF_MEMORY });
    expect(() => openPlan(none, plan, {})).toThrow(new Error('backend cuda: what was wrong'));
  });

  it('can be opened from the bytes of a checkpoint', () => {
    const calls: Call[] = [];
    const bytes = Uint8Array.of(1, 2, 3);
    const library = fakeLibrary({ quamba_open_checkpoint: () => STATUS.WRONG_CALL }, calls);
    expect(() => library.openCheckpoint(bytes, {})).toThrow(new RangeError('what was wrong'));
    expect(calls.at(-2)).toMatchObject([
      'quamba_open_checkpoint',
      bytes,
      3,
      { sequences: 1, chunk: 0 },
      [null],
    ]);
  });

  it('names its states', () => {
    const constants = Object.fromEntries(
      [...plan.graph.weights.keys()].map(ref => [ref, plan.weights.read(ref)]),
    );
    const json = JSON.stringify(graphToJson(plan.graph));
    const context = fakeLibrary().open(json, nativeTensors(constants), {});
    const found = Array.from({ length: context.info.states }, (_, i) => context.state(i));
    expect(Object.fromEntries(found.map(({ name, shape }) => [name, shape]))).toEqual(plan.graph.states);
  });
});

describe('the state', () => {
  it('stays on the GPU while a text goes on and is given up', () => {
    const { executable, calls } = opened();
    let { state } = executable.feed(first, start);
    for (const token of second) ({ state } = executable.feed(Int32Array.of(token), state, { giveUp: true }));
    expect(names(calls)).toEqual(['quamba_set_state', ...Array(1 + second.length).fill('quamba_feed')]);
    same(state, reference.feed(Int32Array.of(...first, ...second), start).state);
    expect(names(calls.slice(-1))).toEqual(['quamba_get_state']);
  });

  it('is copied out once, when somebody looks', () => {
    const { executable, calls } = opened();
    const { state } = executable.feed(first, start);
    calls.length = 0;
    same({ ...state }, reference.feed(first, start).state);
    same({ ...state }, reference.feed(first, start).state);
    expect(names(calls)).toEqual(['quamba_get_state']);
  });

  it('outlives what takes its place, and the model', () => {
    const { executable } = opened();
    const { state } = executable.feed(first, start);
    const expected = reference.feed(first, start).state;
    executable.feed(other, start);
    same(state, expected);
    expect(
      sameBits(executable.feed(second, state).logits.data, reference.feed(second, expected).logits.data),
    ).toBe(true);
    const { state: last } = executable.feed(first, start);
    executable.dispose();
    executable.dispose();
    same(last, expected);
    expect(() => executable.feed(first, start)).toThrow('disposed of');
  });

  it('that was given up is gone', () => {
    const { executable } = opened();
    const { state } = executable.feed(first, start);
    executable.feed(second, state, { giveUp: true });
    expect(() => state['layers.0.ssmState']).toThrow('was given up');
  });

  it('is as it was after a token that no table has', () => {
    const { executable, calls } = opened();
    const { state } = executable.feed(first, start);
    calls.length = 0;
    const bad = Int32Array.of(1, toy.config.vocabSize);
    const message = (feed: () => unknown) => expect(feed).toThrow(RangeError);
    message(() => executable.feed(bad, state, { giveUp: true }));
    expect(() => executable.feed(bad, state)).toThrow(
      'embedding C1: every token must lie in 0 … 31; got 32 at position 1',
    );
    expect(calls).toEqual([]);
    same(state, reference.feed(first, start).state);
  });

  it('after a failure is brought in anew', () => {
    const library = fakeLibrary();
    let fails = false;
    const failing = (...given: Parameters<typeof library.open>) => {
      const context = library.open(...given);
      const feed: typeof context.feed = (...tokens) => {
        context.feed(...tokens);
        if (fails) throw new RangeError('a NaN');
      };
      return { ...context, feed };
    };
    const executable = openPlan({ ...library, open: failing }, plan, {});
    const { state } = executable.feed(first, start);
    fails = true;
    expect(() => executable.feed(second, state)).toThrow(new RangeError('a NaN'));
    fails = false;
    const expected = reference.feed(second, reference.feed(first, start).state);
    expect(sameBits(executable.feed(second, state).logits.data, expected.logits.data)).toBe(true);
  });
});

describe('several sequences', () => {
  it('go side by side, each in its own state', () => {
    const { executable } = opened({ sequences: 3 });
    const texts = [second, other, text.slice(19, 24)];
    const logits = executable.feedSequences(texts);
    expect(logits.shape).toEqual([3, 5, toy.config.vocabSize]);
    const expected = texts.map(tokens => reference.feed(tokens, start));
    for (const [i, { logits: rows }] of expected.entries())
      expect(sameBits(logits.data.slice(i * rows.data.length, (i + 1) * rows.data.length), rows.data)).toBe(
        true,
      );
    executable.setState(1);
    executable.setState(2, expected[0].state);
    const last = executable.feedSequences(texts, 'last');
    expect(last.shape).toEqual([3, 1, toy.config.vocabSize]);
    same(executable.getState(1), expected[1].state);
    same(executable.getState(2), reference.feed(texts[2], expected[0].state).state);
  });

  it('of different lengths, or another number of them, are refused', () => {
    const { executable } = opened({ sequences: 2 });
    expect(() => executable.feedSequences([first])).toThrow(
      'expected 2 sequences of the same length; got 1 of 9',
    );
    expect(() => executable.feedSequences([first, second])).toThrow('got 2 of 9, 5');
    expect(() => executable.feedSequences([second, Int32Array.of(0, 0, 0, 0, 99)])).toThrow('embedding C1');
    expect(() => executable.feed(first, start)).toThrow('feedSequences feeds them');
  });

  it('can leave their logits on the GPU', () => {
    const { executable, calls } = opened({ sequences: 2 });
    executable.queueSequences([first, first]);
    executable.wait();
    expect(calls.map(([name, ...given]) => [name, given.at(-1)])).toMatchObject([
      ['quamba_feed', null],
      ['quamba_wait', {}],
    ]);
    same(executable.getState(1), reference.feed(first, start).state);
  });

  it('of one plan part with the state of a text', () => {
    const { executable } = opened();
    const { state } = executable.feed(first, start);
    executable.feedSequences([second]);
    same(state, reference.feed(first, start).state);
    same(executable.getState(0), reference.feed(Int32Array.of(...first, ...second), start).state);
  });
});

describe('a program with sites', () => {
  it('runs op by op, and can be observed: it calibrates', () => {
    const calls: Call[] = [];
    const { prepare } = backendOf(fakeLibrary({}, calls));
    const stats = calibrate(toy.program, recipes.quamba, toy.samples, {
      prepare: program => prepare!(program),
    });
    expect(stats).toEqual(statsOfToy(toy, recipes.quamba));
    expect(names(calls)).toContain('quamba_op');
    expect(names(calls)).not.toContain('quamba_open');
  });
});

describe('the bench', () => {
  const here = workFolder();
  const model = join(here, 'toy');
  beforeAll(() => void writeFolder(model, toyFiles()));
  const settings = { model, backend: 'cuda', threads: 1, promptLength: 5, generate: 3, rounds: 2, seed: 1 };
  const options = { ...settings, type: 'f32', json: true } as const;

  it('measures by the paper’s protocol', async () => {
    const calls: Call[] = [];
    const report = await reportOf(cudaOf(fakeLibrary({}, calls)), options);
    expect(report).toMatchObject({
      ...{ model, backend: 'cuda', recipe: 'fp32', precision: 'exact', decode: 'graph', batch: 1 },
      ...{ promptLength: 5, generate: 3, rounds: 2, launches: 5, bytesPerToken: 1000, memoryBytes: 1e6 },
      ...{ readBandwidth: 3e12, copyBandwidth: 2e12, device: 'a GPU', sm: 87, node: process.version },
    });
    for (const key of ['ttftMs', 'tpotMs', 'tpotOnGpuMs', 'ttltMs', 'readShare', 'copyShare'] as const)
      expect(report[key], key).toBeGreaterThan(0);
    expect(report.ttltMs).toBeGreaterThan(report.ttftMs);
    // a round: from zeros, the prompt, its tokens with logits, then the same without, and one wait for all
    const round = [
      'set_state',
      'wait',
      'feed',
      'feed',
      'feed',
      'feed',
      'feed',
      'feed',
      'feed',
      'wait',
      'bandwidth',
    ];
    const measured = names(calls).slice(names(calls).indexOf('quamba_set_state'), -1);
    expect(measured.map(name => name.slice(7))).toEqual([...round, ...round, ...round]);
    expect(names(calls).at(-1)).toBe('quamba_close');
    expect(
      table(report)
        .split('\n')
        .map(line => line.split(/ {2,}/)[0]),
    ).toEqual([
      'model',
      'runs on',
      'TTFT, 5 tokens',
      'TPOT',
      'TPOT, logits left on the GPU',
      'TTLT, 5 + 3 tokens',
      'moved for each token',
      'a plain read, a plain copy',
      'decode moves at',
      'memory of the GPU',
      'load to first token',
    ]);
  });

  it('of a batch has no share of the bandwidth for one token', async () => {
    const batch = { sequences: 3 };
    const report = await reportOf(cudaOf(fakeLibrary(), batch), { ...options, batch: 3 });
    expect(report).toMatchObject({ batch: 3, readShare: null, copyShare: null });
    expect(table(report)).toMatch(/^model .*, 3 sequences$/m);
    expect(table(report)).not.toContain('decode moves at');
  });

  it('takes the float recipe for f16', async () => {
    const calls: Call[] = [];
    const f16 = { precision: 'f16' } as const;
    const report = await reportOf(cudaOf(fakeLibrary({}, calls), f16), { ...options, ...f16 });
    expect(report).toMatchObject({ recipe: 'fp32', precision: 'f16' });
    const [, , , , given] = calls.find(([name]) => name === 'quamba_open')!;
    expect(given).toMatchObject({ precision: PRECISIONS.f16 });
  });
});

describe('the command line without a library', () => {
  const here = workFolder();
  const before = process.env.QUAMBA_CUDA_LIB;
  const missing = join(here, 'no.so');
  beforeAll(() => {
    process.env.QUAMBA_CUDA_LIB = missing;
    writeFolder(join(here, 'toy'), toyFiles());
    return () => {
      if (before === undefined) delete process.env.QUAMBA_CUDA_LIB;
      else process.env.QUAMBA_CUDA_LIB = before;
    };
  });
  const reason = `backend cuda: there is no ${missing}: npm run build:cuda makes the library, or QUAMBA_CUDA_LIB names one`;

  it.each([
    ['generate', '--model', 'toy', '--tokens', '1,2'],
    ['eval', '--recipe', 'fp32'],
    ['bench', '--model', 'toy'],
    ['bench', '--shape', 'mamba-130m', '--precision', 'f16'],
  ])('%s %s %s says why, and ends with 1', async (...args) =>
    expect(await complaint(1, here, ...args, '--backend', 'cuda')).toBe(reason),
  );

  it('conform says why, and ends with 2, as for every backend that does not start', async () =>
    expect(await complaint(2, here, 'conform', '--backend', 'cuda')).toBe(reason));

  it.each([
    ['--precision', 'f16'],
    ['--decode', 'graph'],
    ['--batch', '2'],
  ])('%s without cuda is wrong usage', async (option, value) =>
    expect(await complaint(2, here, 'bench', '--model', 'toy', option, value)).toBe(
      `bench: ${option} is for --backend cuda`,
    ),
  );

  it('doctor says why, and all else goes on', async () => {
    const report = await answer<{ cuda: unknown; backend: string }>(here, 'doctor');
    expect(report).toMatchObject({ backend: 'wasm', cuda: { why: reason.replace('backend cuda: ', '') } });
    expect(await printed(here, 'doctor')).toMatch(/^cuda +not used: there is no /m);
  });
});
