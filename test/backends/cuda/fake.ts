/**
 * A library of cuda/ in JavaScript behind the face of koffi: it runs plans by the reference, from the graph's JSON, the tensors and
 * the options as a C library would find them.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  ABI,
  DECODES,
  DTYPES,
  LOGITS,
  PRECISIONS,
  STATUS,
  signatureOf,
} from '../../../src/backends/cuda/abi.ts';
import type {
  Koffi,
  NativeAttribute,
  NativeTensor,
  NativeTurn,
} from '../../../src/backends/cuda/functions.ts';
import { type Library, loadLibrary } from '../../../src/backends/cuda/library.ts';

import type { Executable, Sequence } from '../../../src/executable.ts';
import { weightsOf } from '../../../src/graph.ts';
import { type AnyOp, bind, resultsOf } from '../../../src/op.ts';
import { ops } from '../../../src/ops/index.ts';
import { graphFromJson } from '../../../src/plan/graph-json.ts';
import { inferTypes } from '../../../src/plan/types.ts';
import { interpret } from '../../../src/run.ts';

import { type DType, type Tensor, tensor } from '../../../src/tensor.ts';

// biome-ignore lint/suspicious/noExplicitAny: what C functions take
type Answers = Readonly<Record<string, (...given: any[]) => unknown>>;

export const signatures = Object.values(ops).map(op => signatureOf(op as AnyOp));

/** A file that is there. */
export const here = fileURLToPath(import.meta.url);

/** What is copied to a tensor, of which it must have the shape. */
function sameShape({ name, rank, shape }: NativeTensor, from: Tensor): Tensor {
  const given = shape.slice(0, rank);
  if (String(given) !== String(from.shape)) throw new Error(`${name}: [${given}] is not [${from.shape}]`);
  return from;
}

/** Every call of the library: its function, and what it was given. */
export type Call = readonly [name: string, ...given: unknown[]];

interface Opened {
  readonly executable: Executable;
  readonly places: readonly Sequence[];
  readonly vocabulary: number;
  readonly decode: number;
}

/** What `answers` leaves out, a library with a GPU and all ops answers. `calls` notes what it is called with. */
export function fakeKoffi(answers: Answers = {}, calls: Call[] = []): () => unknown {
  let said = 'what was wrong';
  const fails = (status: number, text: string) => {
    said = text;
    return status;
  };
  const reads = ({ dtype, rank, shape, data }: NativeTensor): Tensor => {
    const found = tensor(data as Float32Array, shape.slice(0, rank));
    if (DTYPES[found.dtype as DType] !== dtype) throw new Error('a dtype that is not the data’s');
    return found;
  };
  const all: Answers = {
    quamba_abi: () => ABI,
    quamba_built_for: () => 'sm_87',
    quamba_error: () => said,
    quamba_device(device) {
      Object.assign(device, { name: 'a GPU', sm: 87, multiprocessors: 8, memory: 2 ** 33 });
      return STATUS.OK;
    },
    quamba_op_signature: i => signatures[i] ?? null,
    quamba_op(name, inputs: NativeTensor[], _, attributes: NativeAttribute[], __, outputs: NativeTensor[]) {
      const op = Object.values(ops).find(one => one.name === name) as unknown as AnyOp;
      const given = Object.fromEntries(inputs.map(t => [t.name, reads(t)]));
      const isBoolean = (key: string) => typeof op.attrs[key] === 'boolean';
      const attrs = attributes.map(a => [a.name, a.text ?? (isBoolean(a.name) ? a.number === 1 : a.number)]);
      const call = bind(op, given, Object.fromEntries(attrs));
      op.reference(call.inputs, call.attrs, call.outputs, call.dims, call.states);
      const results = resultsOf(call);
      for (const t of outputs) (t.data as Float32Array).set(sameShape(t, results[t.name]).data);
      return STATUS.OK;
    },
    quamba_open(json, given: NativeTensor[], count, { sequences, precision, decode }, out) {
      const constants = new Map(given.slice(0, count).map(t => [t.name, reads(t)]));
      const graph = graphFromJson(JSON.parse(json), 'plan');
      const weights = weightsOf(constants);
      if (precision === PRECISIONS.f16 && given.some(t => t.dtype === DTYPES.i8))
        return fails(STATUS.WRONG_CALL, 'f16 needs a float plan');
      const executable = interpret({ graph, weights });
      out[0] = {
        executable,
        places: Array.from({ length: sequences }, () => executable.open()),
        vocabulary: inferTypes(graph).get(graph.result)!.shape[1] as number,
        decode: decode === DECODES.best ? DECODES.graph : decode,
      } satisfies Opened;
      return STATUS.OK;
    },
    quamba_close: () => undefined,
    quamba_context_describe({ places, vocabulary, decode }: Opened, info) {
      const sizes = { launches: 5, memory: 1e6, bytesPerToken: 1000 };
      const states = places[0].save().values.size;
      Object.assign(info, { sequences: places.length, chunk: 1024, vocabulary, decode, states, ...sizes });
      return STATUS.OK;
    },
    quamba_feed({ executable, places }: Opened, turns: NativeTurn[], count, which) {
      const fed = turns.slice(0, count);
      try {
        const logits = executable.feed(
          fed.map(({ sequence, tokens, length }) => ({
            sequence: places[sequence],
            tokens: tokens.slice(0, length),
          })),
          { logits: which === LOGITS.last ? 'last' : 'all' },
        );
        for (const [i, turn] of fed.entries()) turn.logits?.set(logits[i].data);
      } catch (error) {
        for (const { sequence } of fed) places[sequence].load(); // a state that is not what it was
        return fails(STATUS.BAD_VALUE, (error as Error).message);
      }
      return STATUS.OK;
    },
    quamba_wait: () => STATUS.OK,
    quamba_state_tensor({ places }: Opened, index, found) {
      const [name, { shape }] = [...places[0].save().values][index];
      const four = Array.from({ length: 4 }, (_, i) => BigInt(shape[i] ?? 0));
      Object.assign(found, { name, dtype: DTYPES.f32, rank: shape.length, shape: four, data: null });
      return STATUS.OK;
    },
    quamba_get_state({ places }: Opened, sequence, given: NativeTensor[]) {
      const { values } = places[sequence].save();
      for (const t of given) (t.data as Float32Array).set(sameShape(t, values.get(t.name)!).data);
      return STATUS.OK;
    },
    quamba_set_state({ places }: Opened, sequence, given: NativeTensor[]) {
      places[sequence].load();
      const { values } = places[sequence].save();
      const put = given.map(t => [t.name, reads(t) as Tensor<'f32'>] as const);
      const grown = put.find(([name]) => values.get(name)!.shape[0] === 0); // at the start of a text it has no rows
      places[sequence].load({ position: grown?.[1].shape[0] ?? 0, values: new Map([...values, ...put]) });
      return STATUS.OK;
    },
    quamba_copy_state({ places }: Opened, from, to) {
      places[to].load(places[from].save());
      return STATUS.OK;
    },
    quamba_bandwidth(_, read: number[], copy: number[]) {
      [read[0], copy[0]] = [3e12, 2e12];
      return STATUS.OK;
    },
    ...answers,
  };
  const func =
    (name: string) =>
    (...given: unknown[]) => {
      calls.push([name, ...given]);
      return all[name](...given);
    };
  const type = () => ({});
  return () => ({
    load: () => ({ func }),
    ...{ struct: type, array: type, pointer: type, out: type, opaque: type },
  });
}

export function fakeLibrary(answers: Answers = {}, calls?: Call[]): Library {
  const found = loadLibrary(here, fakeKoffi(answers, calls));
  if ('why' in found) throw new Error(found.why);
  return found.library;
}

/** The functions that quamba.h declares. */
export const declaredFunctions: readonly string[] = [
  ...readFileSync(new URL('../../../cuda/include/quamba.h', import.meta.url), 'utf8').matchAll(
    /^QUAMBA_API .*?(quamba_\w+)\(/gm,
  ),
]
  .map(match => match[1])
  .sort();

/** The functions that this side asks the library for, by name. */
export function boundFunctions(): readonly string[] {
  const names: string[] = [];
  const koffi = fakeKoffi()() as Koffi;
  const load = (path: string) => {
    const { func } = koffi.load(path);
    return {
      func(name: string, ...types: [string, readonly unknown[]]) {
        names.push(name);
        return func(name, ...types);
      },
    };
  };
  loadLibrary(here, () => ({ ...koffi, load }));
  return [...new Set(names)];
}
