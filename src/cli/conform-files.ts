/**
 * The calls of the suite as plain files, for those who compare without Node: safetensors beside JSON. The layout is in
 * docs/conformance-protocol.md.
 */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Backend } from '../backends/backend.ts';
import type { Case, Vectors } from '../conformance/case.ts';
import { formNamed } from '../conformance/forms.ts';
import { called } from '../conformance/judge/judge.ts';
import { type About, type Result, toJson } from '../conformance/report/report.ts';
import { makeFolder, writeFiles } from '../formats/disk.ts';
import { withOutput } from '../formats/lock.ts';
import { type Writable, writeSafetensors } from '../formats/safetensors.ts';
import { inWords } from '../formats/system-call.ts';
import { givenOf, resultsOf } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { UsageError } from './terminal.ts';

const STORED = { f32: 'F32', i8: 'I8', i32: 'I32' } as const;

type Tensors = Readonly<Record<string, Tensor>>;
const stored = (prefix: string, tensors: Tensors): (readonly [string, Writable])[] =>
  Object.entries(tensors).map(([name, { dtype, shape, data }]) => [
    `${prefix}.${name}`,
    { dtype: STORED[dtype], shape, data },
  ]);

/** The bounds as f32. They are rounded up, so that a value within the bound stays within it. */
function roundedUp(bounds: Float64Array): Float32Array {
  const rounded = Float32Array.from(bounds);
  const bits = new Uint32Array(rounded.buffer);
  for (let i = 0; i < bounds.length; i++) if (rounded[i] < bounds[i]) bits[i]++;
  return rounded;
}

function vectorsFile(about: Record<string, string>, vectors: Vectors, got: Tensors = {}) {
  const { op, call, expected, tolerances } = vectors;
  const bounds = Object.entries(tolerances).map(([name, { bounds: data }]): readonly [string, Writable] => [
    `bound.${name}`,
    { dtype: 'F32', shape: expected[name].shape, data: roundedUp(data) },
  ]);
  const tensors = [
    ...stored('in', givenOf(call)),
    ...Object.entries(call.states).flatMap(([key, { scale }]): [string, Writable][] =>
      scale ? [[`in.${key}.scale`, { dtype: 'F32', shape: [scale.length], data: scale }]] : [],
    ),
    ...stored('out', expected),
    ...bounds,
    ...stored('got', got),
  ];
  const [attrs, kept] = [call.attrs, keptOf(call)].map(value => JSON.stringify(value));
  return writeSafetensors(tensors, { ...about, op, attrs, kept }, { finite: false });
}

/** How the states of a call are kept, by name, where that is not f32. */
const keptOf = ({ states }: Vectors['call']): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(states).flatMap(([key, { dtype }]) => (dtype === 'f32' ? [] : [[key, dtype]])),
  );

const jsonFile = (value: unknown): Uint8Array[] => [new TextEncoder().encode(`${toJson(value, 1)}\n`)];

/**
 * Writes the calls of all cases that have one, a file for each, and at the end index.json. What fails leaves nothing.
 *
 * @throws UsageError where the folder holds something already.
 */
export async function emit(
  folder: string,
  cases: readonly Case[],
  about: object,
  onCase: (done: number, total: number) => void,
): Promise<number> {
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new UsageError(`--emit ${folder}: expected a folder that is empty or not there`);
  const calls = cases.filter(c => c.vectors);
  await withOutput(folder, () => writeFiles(folder, filesOf(calls, about, onCase)));
  return calls.length;
}

function* filesOf(calls: readonly Case[], about: object, onCase: (done: number, total: number) => void) {
  const entries: object[] = [];
  for (const { address, says, quick, vectors } of calls) {
    const made = vectors!();
    const file = `${address}.safetensors`;
    const outputs = Object.keys(made.expected).map(name => {
      const { formula, bias, share } = made.tolerances[name] ?? { formula: 'the same values', bias: 0 };
      return [name, { formula, bias, share }] as const;
    });
    const { op, call } = made;
    yield [file, vectorsFile({ address, says }, made)] as const;
    entries.push({
      ...{ address, says, op, attrs: call.attrs, kept: keptOf(call), quick, file },
      inputs: Object.keys(givenOf(call)),
      outputs: Object.fromEntries(outputs),
    });
    onCase(entries.length, calls.length);
  }
  yield ['index.json', jsonFile({ ...about, cases: entries })] as const;
}

/** Writes the call of a failing case and what the backend gives for it now. Of a whole model it writes the verdict alone. */
export function dump(folder: string, backend: Backend, failed: Case, result: Result, about: About): void {
  const base = join(folder, failed.address);
  makeFolder(dirname(base));
  put(`${base}.json`, jsonFile({ ...about, ...result }));
  const vectors = attempt(() => failed.vectors?.());
  if (!vectors) return;
  const got = attempt(() => resultsOf(called(backend, formNamed(vectors.op)!.op, vectors.call)));
  put(`${base}.safetensors`, vectorsFile({ address: failed.address, says: failed.says }, vectors, got));
}

/** At one go and in place, between two cases: if the backend then takes the process with it, this is what is left. */
function put(path: string, chunks: Iterable<Uint8Array>): void {
  try {
    writeFileSync(path, Buffer.concat([...chunks]));
  } catch (error) {
    throw inWords(path, error);
  }
}

/** If this fails, it has failed before, and the verdict says why. */
function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}
