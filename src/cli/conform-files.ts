/**
 * The calls of the suite as plain files, for those who compare without Node: safetensors beside JSON. The layout is in
 * docs/conformance-protocol.md.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Backend } from '../backends/backend.ts';
import type { Case, Vectors } from '../conformance/case.ts';
import { formNamed } from '../conformance/forms.ts';
import { called } from '../conformance/judge/judge.ts';
import { type About, type Result, toJson } from '../conformance/report/report.ts';
import { writeFileAtomic } from '../formats/disk.ts';
import { type Writable, writeSafetensors } from '../formats/safetensors.ts';
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

function write(path: string, about: Record<string, string>, vectors: Vectors, got: Tensors = {}) {
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
  mkdirSync(dirname(path), { recursive: true });
  const [attrs, kept] = [call.attrs, keptOf(call)].map(value => JSON.stringify(value));
  writeFileAtomic(path, writeSafetensors(tensors, { ...about, op, attrs, kept }));
}

/** How the states of a call are kept, by name, where that is not f32. */
const keptOf = ({ states }: Vectors['call']): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(states).flatMap(([key, { dtype }]) => (dtype === 'f32' ? [] : [[key, dtype]])),
  );

const writeJson = (path: string, value: unknown): void =>
  writeFileAtomic(path, [new TextEncoder().encode(`${toJson(value, 1)}\n`)]);

/**
 * Writes the calls of all cases that have one, a file for each, and index.json. The folder appears when all is written.
 *
 * @throws UsageError where the folder holds something already.
 */
export function emit(
  folder: string,
  cases: readonly Case[],
  about: object,
  onCase: (done: number, total: number) => void,
): number {
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new UsageError(`--emit ${folder}: expected a folder that is empty or not there`);
  const temporary = join(dirname(resolve(folder)), `.${basename(folder)}.${process.pid}.tmp`);
  try {
    const calls = cases.filter(c => c.vectors);
    const entries = calls.map(({ address, says, quick, vectors }, i) => {
      const made = vectors!();
      const file = `${address}.safetensors`;
      write(join(temporary, file), { address, says }, made);
      onCase(i + 1, calls.length);
      const outputs = Object.keys(made.expected).map(name => {
        const { formula, bias, share } = made.tolerances[name] ?? { formula: 'the same values', bias: 0 };
        return [name, { formula, bias, share }] as const;
      });
      const { op, call } = made;
      return {
        ...{ address, says, op, attrs: call.attrs, kept: keptOf(call), quick, file },
        inputs: Object.keys(givenOf(call)),
        outputs: Object.fromEntries(outputs),
      };
    });
    mkdirSync(temporary, { recursive: true });
    writeJson(join(temporary, 'index.json'), { ...about, cases: entries });
    rmSync(folder, { recursive: true, force: true });
    renameSync(temporary, folder);
    return entries.length;
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** Writes the call of a failing case and what the backend gives for it now. Of a whole model it writes the verdict alone. */
export function dump(folder: string, backend: Backend, failed: Case, result: Result, about: About): void {
  const base = join(folder, failed.address);
  mkdirSync(dirname(base), { recursive: true });
  writeJson(`${base}.json`, { ...about, ...result });
  const vectors = attempt(() => failed.vectors?.());
  if (!vectors) return;
  const got = attempt(() => resultsOf(called(backend, formNamed(vectors.op)!.op, vectors.call)));
  write(`${base}.safetensors`, { address: failed.address, says: failed.says }, vectors, got);
}

/** If this fails, it has failed before, and the verdict says why. */
function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}
