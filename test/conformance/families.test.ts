/** Each family of cases sees what it is there for: a backend that is wrong in that way fails every one of them. */

import { describe, expect, it } from 'vitest';
import type { Backend } from '../../src/backends/backend.ts';
import { reference } from '../../src/backends/reference.ts';
import { programsOf } from '../../src/conformance/cases/fused-parts.ts';
import { fusedPrograms } from '../../src/conformance/cases/fused-programs.ts';
import { textFor } from '../../src/conformance/cases/plan.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { conformance } from '../../src/conformance/suite.ts';
import { planOfToy, toys } from '../../src/conformance/toy.ts';
import type { Executable } from '../../src/executable.ts';
import { patterns } from '../../src/plan/fuse.ts';
import { DEFAULT_RECIPE, recipes } from '../../src/quant/recipes.ts';
import type { AnyKernel } from '../../src/run.ts';
import { interpretedPlaces } from '../../src/run.ts';
import { sequences } from '../../src/sequences.ts';
import type { Data, Tensor } from '../../src/tensor.ts';

type Named = Readonly<Record<string, Tensor | undefined>>;
const tensors = (named: unknown): Tensor[] => Object.values(named as Named).flatMap(t => t ?? []);

/** The reference with `spoil` before or after each of its kernels. */
const spoiled = (
  spoil: (call: { inputs: Tensor[]; outputs: Tensor[]; run: () => void }) => void,
): Backend => ({
  name: 'spoiled',
  kernelOf:
    (op): AnyKernel =>
    (inputs, attrs, outputs, dims, states) =>
      spoil({
        inputs: tensors(inputs),
        outputs: tensors(outputs),
        run: () => op.reference(inputs, attrs, outputs, dims, states),
      }),
});

/** The reference whose executables give other logits. */
const executing = (spoil: (logits: Data) => void, about?: Executable['about']): Backend => ({
  ...reference,
  name: 'spoiled',
  prepare(program) {
    const places = interpretedPlaces(program);
    const spoiled = sequences(program, {
      ...places,
      feed(...args) {
        const logits = places.feed(...args);
        for (const { data } of logits) spoil(data);
        return logits;
      },
    });
    return { ...spoiled, about };
  },
});

/** The next value of its type, either way. */
function nudge(data: Data, at = data.length - 1): void {
  if (data.length === 0) return;
  if (data instanceof Float32Array) {
    const bits = new Int32Array(data.buffer, data.byteOffset, data.length);
    bits[at] += data[at] === Number.POSITIVE_INFINITY || data[at] === Number.NEGATIVE_INFINITY ? -1 : 1;
  } else data[at] ^= 1;
}

function nudgeAll(data: Data): void {
  for (const at of data.keys()) nudge(data, at);
}

const model = {
  name: 'a-toy',
  recipe: DEFAULT_RECIPE,
  float: () => toys()[0].program,
  plan: () => planOfToy(toys()[0], recipes[DEFAULT_RECIPE]),
  ops: [],
  text: () => textFor(toys()[0].config.vocabSize, 200),
};
/** The addresses of the cases that do not fail, of those that a pattern picks. */
function blind(backend: Backend, pattern: RegExp, threads: readonly number[] = [2]): string[] {
  const cases = conformance(backend, { goldens: goldens(), models: [model], threads }).filter(({ address }) =>
    pattern.test(address),
  );
  expect(cases.length).toBeGreaterThan(0);
  return cases.flatMap(one => (one.run().outcome === 'fail' ? [] : one.address));
}

describe('one value that is one step off', () => {
  const oneOff = spoiled(({ outputs, run }) => {
    run();
    nudge(outputs[0].data);
  });
  it.each(['golden', 'sweep', 'edge', 'width/l=1030'])('fails every op/*/%s that has a value', family => {
    const passed = blind(oneOff, new RegExp(`^op/.*/${family}`));
    expect(passed.filter(address => !/edge\/(?:empty-text|l=0,)/.test(address))).toEqual([]);
  });
  it.each(['nothing-kept'])('fails hygiene/*/%s', manner => {
    expect(blind(oneOff, new RegExp(`^hygiene/.*/${manner}$`))).toEqual([]);
  });
  it.each([
    'alone/.*/edge',
    'fused',
    'block',
    'plan',
    'state/(?!attention|causal|rope-table|selective|ssd)',
    'gate',
  ])('of a result fails %s', family => {
    expect(blind(executing(nudgeAll), new RegExp(`^${family}`))).toEqual([]);
  });
});

describe('bad manners', () => {
  const cases: readonly [manner: string, backend: Backend][] = [
    [
      'inputs-untouched',
      spoiled(({ inputs, run }) => {
        run();
        nudge(inputs.at(-1)!.data);
      }),
    ],
    [
      'outputs-written',
      spoiled(({ outputs, run }) => {
        const at = outputs.map(({ data }) => data.at(-1)!);
        run();
        for (const [i, { data }] of outputs.entries()) data[data.length - 1] = at[i];
      }),
    ],
    [
      'in-bounds',
      spoiled(({ outputs, run }) => {
        run();
        for (const { data } of outputs)
          if (data.byteOffset > 0) new Uint8Array(data.buffer)[data.byteOffset - 1] ^= 1;
      }),
    ],
    [
      'in-bounds',
      spoiled(({ inputs, outputs, run }) => {
        run();
        const { data } = inputs[0];
        const past = new Uint8Array(data.buffer)[data.byteOffset + data.byteLength + 3] ?? 0;
        outputs[0].data[0] += past >> 7;
      }),
    ],
    [
      'nothing-kept',
      (() => {
        let calls = 0;
        return spoiled(({ outputs, run }) => {
          run();
          if (calls++ % 3 === 2) nudge(outputs[0].data);
        });
      })(),
    ],
  ];
  it.each(cases)('fail hygiene/*/%s', (manner, backend) => {
    expect(blind(backend, new RegExp(`^hygiene/.*/${manner}$`))).toEqual([]);
  });
});

it('bits that change from call to call fail determinism', () => {
  let calls = 0;
  const often = spoiled(({ outputs, run }) => {
    run();
    if (calls++ % 2) nudge(outputs[0].data);
  });
  expect(blind(often, /^determinism\/(?!plan|threads)/)).toEqual([]);
  const threads = executing(data => calls++ % 3 === 0 && nudge(data), {
    kernels: '',
    threads: 2,
    memoryBytes: 0,
    bytesPerToken: 0,
  });
  expect(blind(threads, /^determinism\/threads-2/)).toEqual([]);
});

it('an exception is an error, and a missing op unsupported: neither passes', () => {
  const throwing = spoiled(() => {
    throw new Error('out of order');
  });
  const none: Backend = { name: 'none', kernelOf: () => undefined };
  for (const [backend, outcome] of [
    [throwing, 'error'],
    [none, 'unsupported'],
  ] as const) {
    const verdicts = conformance(backend, { goldens: goldens() }).map(one => one.run());
    expect(new Set(verdicts.map(verdict => verdict.outcome))).toEqual(new Set([outcome, 'skipped']));
    expect(verdicts.find(verdict => verdict.outcome === outcome)!.reason).toMatch(
      outcome === 'error' ? /^out of order$/ : /^backend none has no kernel for /,
    );
  }
});

it('every fused program has one fused node, and every pattern has programs', () => {
  for (const one of fusedPrograms)
    for (const { program } of programsOf(one))
      expect(program.graph.nodes.flatMap(node => (node.kind === 'fused' ? node.name : []))).toEqual([
        one.name,
      ]);
  expect(new Set(fusedPrograms.map(({ name }) => name))).toEqual(new Set(patterns.map(({ name }) => name)));
});

it('addresses are lower case and differ; listing makes no values', () => {
  const addresses = conformance(reference, { goldens: goldens(), threads: [2] }).map(
    ({ address }) => address,
  );
  expect(new Set(addresses).size).toBe(addresses.length);
  expect(addresses.filter(address => !/^[^A-Z\s]+$/.test(address))).toEqual([]);
});
