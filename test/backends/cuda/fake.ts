/**
 * A library of cuda/ in JavaScript behind the face of koffi: it runs plans by the reference, from the graph's JSON, the tensors and
 * the options as a C library would find them.
 */
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
import type { NativeAttribute, NativeTensor } from '../../../src/backends/cuda/functions.ts';
import { type Library, loadLibrary } from '../../../src/backends/cuda/library.ts';
import type { Executable, State } from '../../../src/executable.ts';
import { weightsOf } from '../../../src/graph.ts';
import { type AnyOp, bind } from '../../../src/op.ts';
import { ops } from '../../../src/ops/index.ts';
import { graphFromJson } from '../../../src/plan/graph-json.ts';
import { initialState, interpret } from '../../../src/run.ts';
import { type DType, type Tensor, tensor } from '../../../src/tensor.ts';

// biome-ignore lint/suspicious/noExplicitAny: what C functions take
type Answers = Readonly<Record<string, (...given: any[]) => unknown>>;

export const signatures = Object.values(ops).map(op => signatureOf(op as AnyOp));
/** Of the ops that the library is built with: it has no scan of a state in fewer bits yet. */
export const builtSignatures = signatures.filter(each => !/^selective-scan-(f16|i8state)\(/.test(each));

/** A file that is there. */
export const here = fileURLToPath(import.meta.url);

/** Every call of the library: its function, and what it was given. */
export type Call = readonly [name: string, ...given: unknown[]];

interface Opened {
  readonly executable: Executable;
  readonly states: State[];
  readonly sequences: number;
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
      const results = Object.fromEntries(outputs.map(t => [t.name, reads(t)]));
      op.reference(call.inputs, call.attrs, results, call.dims);
      return STATUS.OK;
    },
    quamba_open(json, given: NativeTensor[], count, { sequences, precision, decode }, out) {
      const constants = new Map(given.slice(0, count).map(t => [t.name, reads(t)]));
      const graph = graphFromJson(JSON.parse(json), 'plan');
      const weights = weightsOf(constants);
      if (precision === PRECISIONS.f16 && given.some(t => t.dtype === DTYPES.i8))
        return fails(STATUS.WRONG_CALL, 'f16 needs a float plan');
      const executable = interpret({ graph, weights });
      const start = initialState({ graph, weights });
      out[0] = {
        executable,
        sequences,
        states: Array.from({ length: sequences }, () => start),
        vocabulary: executable.feed(Int32Array.of(0), start).logits.shape[1],
        decode: decode === DECODES.best ? DECODES.graph : decode,
      } satisfies Opened;
      return STATUS.OK;
    },
    quamba_close: () => undefined,
    quamba_context_describe({ sequences, vocabulary, states, decode }: Opened, info) {
      const sizes = { states: Object.keys(states[0]).length, launches: 5, memory: 1e6, bytesPerToken: 1000 };
      Object.assign(info, { sequences, chunk: 1024, vocabulary, decode, ...sizes });
      return STATUS.OK;
    },
    quamba_feed(opened: Opened, tokens: Int32Array, length, which, logits: Float32Array | null) {
      const row = (which === LOGITS.last ? 1 : length) * opened.vocabulary;
      try {
        for (let i = 0; i < opened.sequences; i++) {
          const text = tokens.slice(i * length, (i + 1) * length);
          const wanted = which === LOGITS.last ? 'last' : 'all';
          const fed = opened.executable.feed(text, opened.states[i], { logits: wanted });
          opened.states[i] = fed.state;
          logits?.set(fed.logits.data, i * row);
        }
      } catch (error) {
        return fails(STATUS.BAD_VALUE, (error as Error).message);
      }
      return STATUS.OK;
    },
    quamba_wait: () => STATUS.OK,
    quamba_state_tensor({ states }: Opened, index, found) {
      const [name, { shape }] = Object.entries(states[0])[index];
      const four = Array.from({ length: 4 }, (_, i) => BigInt(shape[i] ?? 0));
      Object.assign(found, { name, dtype: DTYPES.f32, rank: shape.length, shape: four, data: null });
      return STATUS.OK;
    },
    quamba_get_state({ states }: Opened, sequence, given: NativeTensor[]) {
      for (const { name, data } of given) (data as Float32Array).set(states[sequence][name].data);
      return STATUS.OK;
    },
    quamba_set_state({ states }: Opened, sequence, given: NativeTensor[]) {
      const zero = Object.entries(states[sequence]).map(([ref, { data, shape }]) => [
        ref,
        tensor(new Float32Array(data.length), shape),
      ]);
      const put = given.map(t => [t.name, tensor((reads(t).data as Float32Array).slice(), reads(t).shape)]);
      states[sequence] = Object.fromEntries([...zero, ...put]);
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
