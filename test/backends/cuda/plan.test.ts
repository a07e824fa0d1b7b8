/**
 * Whole plans by the cuda backend, on a library in JavaScript: what is handed over, sequences and their places, errors. On a GPU:
 * scripts/test-cuda.mjs.
 */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { DECODES, PRECISIONS, STATUS } from '../../../src/backends/cuda/abi.ts';
import type { NativeTensor, NativeTurn, PlanOptions } from '../../../src/backends/cuda/functions.ts';
import { backendOf, cudaOf } from '../../../src/backends/cuda/index.ts';
import { type CudaExecutable, openPlan } from '../../../src/backends/cuda/plan.ts';
import { nativeTensors } from '../../../src/backends/cuda/tensors.ts';
import { reportOf, table } from '../../../src/cli/bench-cuda.ts';
import { conformance } from '../../../src/conformance/suite.ts';
import type { Sequence } from '../../../src/executable.ts';
import { trace, weightsOf } from '../../../src/graph.ts';
import { ops } from '../../../src/ops/index.ts';
import { graphToJson } from '../../../src/plan/graph-json.ts';
import { calibrate } from '../../../src/quant/calibrate.ts';
import { savePlan } from '../../../src/quant/checkpoint.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import { interpret } from '../../../src/run.ts';
import { tensor } from '../../../src/tensor.ts';
import { answer, complaint, printed, workFolder } from '../../cli/run.ts';
import { toyFiles, writeFolder } from '../../cli/toy.ts';
import { planOfToy, sameBits, statsOfToy, toy } from '../../toy.ts';
import { type Call, fakeLibrary } from './fake.ts';

const plan = planOfToy(toy, recipes.quamba);
const text = toy.text;
const [first, second, other] = [text.slice(0, 9), text.slice(9, 14), text.slice(14, 19)];
const reference = interpret(plan);

/** A text of the reference, which has been fed some tokens. */
const at = (...parts: readonly Int32Array[]): Sequence => {
  const sequence = reference.open();
  for (const tokens of parts) sequence.feed(tokens);
  return sequence;
};
const same = (actual: Sequence, expected: Sequence) => {
  const [a, b] = [actual.save(), expected.save()];
  expect([a.position, [...a.values.keys()].sort()]).toEqual([b.position, [...b.values.keys()].sort()]);
  for (const [ref, { data }] of b.values) expect(sameBits(a.values.get(ref)!.data, data), ref).toBe(true);
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
    ({ address, quick }) =>
      quick && /^(?:state|plan|block)\/(?!.*\/(?:f16|i8|i8-dynamic)(?:\/|$))/.test(address),
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
      sequences: 8,
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
      { sequences: 8, chunk: 0 },
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
    const expected = [...plan.graph.states].map(([name, { shape }]) => ({ name, shape }));
    expect(found).toEqual(expected);
  });
});

describe('a sequence', () => {
  it('stays on the GPU while its text goes on', () => {
    const { executable, calls } = opened();
    const sequence = executable.open();
    sequence.feed(first);
    for (const token of second) sequence.feed(Int32Array.of(token), { logits: 'last' });
    expect(names(calls)).toEqual(['quamba_set_state', ...Array(1 + second.length).fill('quamba_feed')]);
    same(sequence, at(first, second));
    expect(names(calls.slice(-1))).toEqual(['quamba_get_state']);
  });

  it('can be forked, loaded and begun anew, each a copy on the GPU or from outside', () => {
    const { executable, calls } = opened();
    const sequence = executable.open();
    sequence.feed(first);
    const saved = sequence.save();
    calls.length = 0;
    const fork = sequence.fork();
    expect(names(calls)).toEqual(['quamba_set_state', 'quamba_copy_state']);
    fork.feed(other);
    sequence.feed(second);
    same(fork, at(first, other));
    same(sequence, at(first, second));
    fork.load(saved);
    same(fork, at(first));
    fork.load();
    same(fork, at());
    same(executable.open(saved), at(first));
  });

  it('has a place of its own, and gives it back', () => {
    const { executable } = opened({ sequences: 2 });
    const [a, b] = [executable.open(), executable.open()];
    a.feed(first);
    b.feed(other);
    const full =
      'open: all 2 sequences of this plan are open; close one, or open the plan with the option sequences for more';
    expect(() => executable.open()).toThrow(new Error(full));
    expect(() => a.fork()).toThrow(new Error(full));
    a.close();
    a.close();
    const c = executable.open();
    same(c, at());
    expect(() => executable.open()).toThrow(full);
    same(b, at(other));
    expect(() => a.feed(first)).toThrow('it was closed');
  });

  it('cannot go on after the model was disposed of', () => {
    const { executable, calls } = opened();
    const sequence = executable.open();
    executable.dispose();
    executable.dispose();
    expect(names(calls).filter(name => name === 'quamba_close')).toHaveLength(1);
    expect(() => sequence.feed(first)).toThrow('disposed of');
    expect(() => executable.open()).toThrow('disposed of');
    sequence.close();
  });

  it('is as it was after a token that no table has', () => {
    const { executable, calls } = opened();
    const sequence = executable.open();
    sequence.feed(first);
    calls.length = 0;
    expect(() => sequence.feed(Int32Array.of(1, toy.config.vocabSize))).toThrow(
      new RangeError('embedding C1: every token must lie in 0 … 31; got 32 at position 1'),
    );
    expect(calls).toEqual([]);
    same(sequence, at(first));
  });

  it('is as it was after a feed that failed on the GPU, with those beside it', () => {
    const library = fakeLibrary();
    let fails = false;
    const failing = (...given: Parameters<typeof library.open>) => {
      const context = library.open(...given);
      const feed: typeof context.feed = (...turns) => {
        context.feed(...turns);
        if (!fails) return;
        fails = false;
        throw new RangeError('a NaN');
      };
      return { ...context, feed };
    };
    const executable = openPlan({ ...library, open: failing }, plan, {});
    const [a, b] = [executable.open(), executable.open(at(first).save())];
    a.feed(other);
    fails = true;
    const turns = [a, b].map(sequence => ({ sequence, tokens: second }));
    expect(() => executable.feed(turns)).toThrow(new RangeError('a NaN'));
    same(a, at(other));
    same(b, at(first));
  });
});

describe('a plan whose states grow', () => {
  it('is saved with as many rows as tokens, and goes on from there, also elsewhere', () => {
    const graph = trace((g, tokens) => {
      const x = g.op('x', ops.embedding, { tokens, w: g.weight('table', [5, 4]) });
      const states = { K: g.state('K', ['t', 1, 4]), V: g.state('V', ['t', 1, 4]) };
      return g.op('y', ops.attention, { q: x, k: x, v: x, ...states });
    });
    const table = tensor(
      Float32Array.from({ length: 20 }, (_, i) => Math.sin(i)),
      [5, 4],
    );
    const program = { graph, weights: weightsOf(new Map([['table', table]])) };
    const [there, here] = [openPlan(fakeLibrary(), program, {}), interpret(program)];
    const [begun, rest] = [Int32Array.of(1, 4, 0), Int32Array.of(2, 3)];
    const expected = here.open();
    const sequence = there.open();
    for (const one of [expected, sequence]) one.feed(begun);
    const saved = sequence.save();
    expect(saved.values.get('V')!.shape).toEqual([3, 1, 4]);
    const { data } = expected.feed(rest);
    for (const one of [sequence.fork(), there.open(saved), here.open(saved), sequence])
      expect(sameBits(one.feed(rest).data, data)).toBe(true);
    same(sequence, expected);
    const short = cudaOf(fakeLibrary(), { context: 4 }).backend.prepare!(program).open(saved);
    expect(() => short.feed(rest)).toThrow('2 more tokens at position 3 are beyond the context of 4');
    const shorter = backendOf(fakeLibrary()).prepare!(program, { context: 3 }).open(saved);
    expect(() => shorter.feed(rest)).toThrow('are beyond the context of 3');
  });
});

describe('several sequences', () => {
  it('go side by side, any of them, with any numbers of tokens, in one call', () => {
    const { executable, calls } = opened({ sequences: 3 });
    const [a, b, c] = Array.from({ length: 3 }, () => executable.open());
    b.feed(other);
    calls.length = 0;
    const logits = executable.feed([
      { sequence: c, tokens: first },
      { sequence: b, tokens: second },
    ]);
    expect(names(calls)).toEqual(['quamba_feed']);
    const expected = [at().feed(first), at(other).feed(second)];
    for (const [i, { shape, data }] of logits.entries()) {
      expect(shape).toEqual(expected[i].shape);
      expect(sameBits(data, expected[i].data)).toBe(true);
    }
    const last = executable.feed(
      [a, b, c].map(sequence => ({ sequence, tokens: other })),
      { logits: 'last' },
    );
    expect(last.map(({ shape }) => shape)).toEqual(Array(3).fill([1, toy.config.vocabSize]));
    same(a, at(other));
    same(b, at(other, second, other));
    same(c, at(first, other));
  });

  it('can leave their logits on the GPU', () => {
    const { executable, calls } = opened();
    const sequences = [executable.open(), executable.open()];
    calls.length = 0;
    executable.queue(sequences.map(sequence => ({ sequence, tokens: first })));
    executable.wait();
    expect(names(calls)).toEqual(['quamba_feed', 'quamba_wait']);
    const [, , turns] = calls[0] as [string, unknown, NativeTurn[]];
    expect(turns.map(({ length, logits }) => [length, logits])).toEqual(Array(2).fill([first.length, null]));
    for (const sequence of sequences) same(sequence, at(first));
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
    // a round: from the start of a text, the prompt, its tokens with logits, then the same without, and one wait for all
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
    const measured = names(calls).slice(names(calls).indexOf('quamba_feed') + 1, -1);
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
    expect(report).toMatchObject({
      batch: 3,
      decode: 'graph',
      launches: null,
      readShare: null,
      copyShare: null,
    });
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
  ])('%s without cuda is wrong usage', async (option, value) =>
    expect(await complaint(2, here, 'bench', '--model', 'toy', option, value)).toBe(
      `bench: ${option} changes nothing without --backend cuda`,
    ),
  );

  it('doctor says why, and all else goes on', async () => {
    const report = await answer<{ cuda: unknown; backend: string }>(here, 'doctor');
    expect(report).toMatchObject({ backend: 'wasm', cuda: { why: reason.replace('backend cuda: ', '') } });
    expect(await printed(here, 'doctor')).toMatch(/^cuda +not used: there is no /m);
  });
});
