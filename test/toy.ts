/** The toy models of the conformance suite, all made, and what else tests of them share. */

import { batches } from '../src/batches.ts';
import { type AnyToy, planOfToy, toys as toysOf } from '../src/conformance/toy.ts';
import type { Executable } from '../src/executable.ts';
import type { Program } from '../src/graph.ts';
import { identity } from '../src/plan/identity.ts';
import type { Recipe } from '../src/quant/scheme.ts';
import { interpret } from '../src/run.ts';
import type { Runnable } from '../src/session.ts';
import type { Data } from '../src/tensor.ts';

export { hybridToys, noise, planOfToy, statsOfToy, type Toy, toy2 } from '../src/conformance/toy.ts';
export { random } from '../src/text/random.ts';

export const toys = toysOf();
export const [toy] = toys;

export const sameBits = (a: Data, b: Data): boolean =>
  a.byteLength === b.byteLength && Buffer.compare(bytes(a), bytes(b)) === 0;
const bytes = (data: Data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

const executables = new WeakMap<Program, Executable>();
function executableOf(program: Program): Executable {
  const executable = executables.get(program) ?? interpret(program);
  executables.set(program, executable);
  return executable;
}

export function runnableOf(of: AnyToy, recipe: Recipe, words: string): Runnable {
  const program = planOfToy(of, recipe);
  const executable = executableOf(program);
  return {
    program,
    executable,
    batches: batches(executable),
    vocabSize: of.config.vocabSize,
    name: `${of.name} as ${words}`,
    identity: () => identity(program.weights, program.graph.weights.keys(), recipe),
  };
}
