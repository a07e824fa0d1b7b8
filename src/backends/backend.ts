/**
 * What a backend is: kernels for ops, by the op's name. It knows ops and plans, and no model.
 */
import type { Executable } from '../executable.ts';
import type { Program } from '../graph.ts';
import type { AnyOp, KeptStates } from '../op.ts';
import { contextOf } from '../plan/sizes.ts';
import { type AnyKernel, formsOf, interpretedPlaces, verified } from '../run.ts';
import { sequences } from '../sequences.ts';

export interface Backend {
  readonly name: string;
  /** The kernel of an op whose states are kept as `kept` says, f32 by default; undefined where that is unsupported. */
  kernelOf(op: AnyOp, kept?: KeptStates): AnyKernel | undefined;
  /** Takes a whole plan. A backend without it runs a plan op by op. */
  prepare?(program: Program, options?: PrepareOptions): Executable;
}

export interface PrepareOptions {
  /** How many threads share the work, 1 by default. The bits do not depend on it. */
  readonly threads?: number;
  /** The most tokens of a text, where states of the program grow with it: 8,192 by default. */
  readonly context?: number;
}

/** @throws TypeError for a program that the verifier refuses, Error listing the ops that it needs and the backend lacks. */
export function prepare(backend: Backend, given: Program, options?: PrepareOptions): Executable {
  const program = verified(given);
  if (backend.prepare) return backend.prepare(program, options);
  const missing = [...formsOf(program)].filter(([, { op, kept }]) => !backend.kernelOf(op, kept));
  if (missing.length)
    throw new Error(`backend ${backend.name}: no kernel for ${missing.map(([form]) => form).join(', ')}`);
  return sequences(
    program,
    interpretedPlaces(program, (op, kept) => backend.kernelOf(op, kept)!),
    contextOf(program, options?.context),
  );
}

/**
 * What a kernel throws where it has the op but cannot do this call: the case is `unsupported`, with the message as its reason.
 * It is recognized by its name, so that a backend in a module of its own need not import this one.
 */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}
export const isUnsupported = (error: unknown): error is Error =>
  error instanceof Error && error.name === 'Unsupported';
