/** Feeding whole texts to executables, and comparing bits. */
import { wasmBackend } from '../src/backends/wasm/index.ts';
import { trials } from '../src/backends/wasm/variants.ts';
import type { Program } from '../src/graph.ts';
import { type Executable, initialState, type State } from '../src/run.ts';
import type { Data } from '../src/tensor.ts';
import { random } from './toy.ts';

/** The backend with each variant of the kernels that this engine computes right. */
export const variants = trials().flatMap(({ name, variant }) =>
  variant ? [[name, wasmBackend(name)] as const] : [],
);

/** Where two arrays differ first, in words; '' where nowhere. */
export function difference(actual: Data, expected: Data): string {
  if (actual.length !== expected.length) return `${actual.length} values; expected ${expected.length}`;
  for (let i = 0; i < actual.length; i++)
    if (!Object.is(actual[i], expected[i])) return `[${i}] is ${actual[i]}; expected ${expected[i]}`;
  return '';
}

/** What a text gives, fed in cuts. */
export function run(
  executable: Executable,
  program: Program,
  cuts: readonly Int32Array[],
): { readonly logits: Float32Array; readonly state: State } {
  let state = initialState(program);
  const logits: number[] = [];
  for (const tokens of cuts) {
    const result = executable.feed(tokens, state);
    logits.push(...result.logits.data);
    state = result.state;
  }
  return { logits: Float32Array.from(logits), state };
}

export const cut = (text: Int32Array, sizes: readonly number[]): Int32Array[] => {
  let at = 0;
  return sizes.map(size => text.subarray(at, (at += size)));
};

/** Longer than two chunks. */
export const long = (vocabSize: number): Int32Array => {
  const next = random(9);
  return Int32Array.from({ length: 300 }, () => Math.floor(next() * vocabSize));
};
