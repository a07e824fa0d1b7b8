/** Feeding whole texts to executables, and comparing bits. */
import { wasmBackend } from '../../src/backends/wasm/index.ts';
import { probes } from '../../src/backends/wasm/variants.ts';
import { fed } from '../../src/conformance/plan.ts';
import type { Executable } from '../../src/executable.ts';
import type { Data, Tensor } from '../../src/tensor.ts';
import { random } from '../toy.ts';

export { cut } from '../../src/conformance/plan.ts';

/** The backend with each variant of the kernels that this engine computes right. */
export const variants = probes().flatMap(({ name, variant }) =>
  variant ? [[name, wasmBackend(name)] as const] : [],
);

/** Where two arrays differ first, in words; '' where nowhere. */
export function difference(actual: Data, expected: Data): string {
  if (actual.length !== expected.length) return `${actual.length} values; expected ${expected.length}`;
  for (let i = 0; i < actual.length; i++)
    if (!Object.is(actual[i], expected[i])) return `[${i}] is ${actual[i]}; expected ${expected[i]}`;
  return '';
}

/** What a text gives from its start, fed in cuts. */
export function run(
  executable: Executable,
  cuts: readonly Int32Array[],
): { readonly logits: Data; readonly state: Readonly<Record<string, Tensor>> } {
  const { logits, ...state } = fed(executable, cuts);
  return { logits: logits.data, state };
}

/** Longer than two chunks. */
export const long = (vocabSize: number): Int32Array => {
  const next = random(9);
  return Int32Array.from({ length: 300 }, () => Math.floor(next() * vocabSize));
};
