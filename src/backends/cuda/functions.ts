/** The functions of quamba.h as this side calls them. A status that is not OK becomes an error with the library's text. */
import { DECODES, type Decode, LOGITS, MAX_RANK, PRECISIONS, type Precision, STATUS } from './abi.ts';

export interface Device {
  readonly name: string;
  /** Compute capability: 87 for 8.7. */
  readonly sm: number;
  readonly multiprocessors: number;
  /** Bytes. */
  readonly memory: number;
}

/** As quamba.h has them. */
export interface NativeTensor {
  readonly name: string;
  readonly dtype: number;
  readonly rank: number;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}
export interface NativeAttribute {
  readonly name: string;
  readonly number: number;
  readonly text: string | null;
}

/** Some tokens for one sequence, and where their logits go; null: they stay on the GPU. */
export interface NativeTurn {
  readonly sequence: number;
  readonly length: number;
  readonly tokens: Int32Array;
  readonly logits: Float32Array | null;
}

export interface PlanOptions {
  /** How many sequences can be open at once; each has memory for its states. 8 by default. */
  readonly sequences?: number;
  /** Rows (tokens of all turns) that are computed at once, at most. The library's own choice by default. */
  readonly chunk?: number;
  /** `exact` by default. */
  readonly precision?: Precision;
  /** `best` by default. Another one is an error where it cannot run. */
  readonly decode?: Decode;
  /** The most tokens of a text, where states of the plan grow with it: 8,192 by default. Memory is taken as a text grows. */
  readonly context?: number;
}

/** What the library says of an open plan. */
export interface ContextInfo {
  readonly sequences: number;
  readonly chunk: number;
  /** Values of a row of the result. */
  readonly vocabulary: number;
  readonly states: number;
  readonly decode: Decode;
  /** Kernels that a single token takes. */
  readonly launches: number;
  /** Bytes of the GPU that it holds. */
  readonly memory: number;
  /** What one token reads of the constants, and reads and writes of the state. */
  readonly bytesPerToken: number;
}

/** Bytes per second of the GPU's memory, by a plain read, and by a copy, which reads and writes. */
export interface Bandwidth {
  readonly read: number;
  readonly copy: number;
}

/** What is used of koffi. */
export interface Koffi {
  load(path: string): Loaded;
  struct(fields: Readonly<Record<string, unknown>>): unknown;
  array(type: string, length: number): unknown;
  opaque(): unknown;
  pointer(type: unknown, count?: number): unknown;
  out(type: unknown): unknown;
}
export interface Loaded {
  // biome-ignore lint/suspicious/noExplicitAny: what a C function takes and returns
  func(name: string, result: string, parameters: readonly unknown[]): (...given: any[]) => any;
}

/** Enough for a few sessions and their forks; a sequence of mamba-2.8b takes 25 MB. */
const SEQUENCES = 8;

export type Functions = ReturnType<typeof bindAll>;

export function bindAll(koffi: Koffi, lib: Loaded) {
  const error = lib.func('quamba_error', 'const char *', []);
  /** A function whose failure is an error, of the reference's kind where it is about what was given. */
  const func = (name: string, parameters: readonly unknown[]) => {
    const call = lib.func(name, 'int', parameters);
    return (...given: unknown[]): void => {
      const status = call(...given);
      if (status === STATUS.OK) return;
      const isGiven = status === STATUS.BAD_VALUE || status === STATUS.WRONG_CALL;
      throw isGiven ? new RangeError(error()) : new Error(`backend cuda: ${error()}`);
    };
  };

  const tensor = koffi.struct({
    name: 'const char *',
    dtype: 'int32_t',
    rank: 'int32_t',
    shape: koffi.array('int64_t', MAX_RANK),
    data: 'void *',
  });
  const attribute = koffi.struct({ name: 'const char *', number: 'double', text: 'const char *' });
  const list = (type: unknown) => [koffi.pointer(type), 'int32_t'];
  const output = (type: unknown) => koffi.out(koffi.pointer(type));
  const op = func('quamba_op', ['const char *', ...list(tensor), ...list(attribute), ...list(tensor)]);
  const bandwidth = func('quamba_bandwidth', ['uint64_t', output('double'), output('double')]);

  const context = koffi.opaque();
  const ofContext = koffi.pointer(context);
  const opening = [
    koffi.pointer(
      koffi.struct({ sequences: 'int32_t', chunk: 'int32_t', precision: 'int32_t', decode: 'int32_t' }),
    ),
    koffi.out(koffi.pointer(context, 2)),
  ];
  const open = func('quamba_open', ['const char *', ...list(tensor), ...opening]);
  const openCheckpoint = func('quamba_open_checkpoint', ['const void *', 'uint64_t', ...opening]);
  const close = lib.func('quamba_close', 'void', [ofContext]);
  const info = koffi.struct({
    sequences: 'int32_t',
    chunk: 'int32_t',
    vocabulary: 'int32_t',
    states: 'int32_t',
    decode: 'int32_t',
    launches: 'int32_t',
    memory: 'uint64_t',
    bytesPerToken: 'uint64_t',
  });
  const describe = func('quamba_context_describe', [ofContext, output(info)]);
  const turn = koffi.struct({
    sequence: 'int32_t',
    length: 'int32_t',
    tokens: 'const int32_t *',
    logits: 'float *',
  });
  const feed = func('quamba_feed', [ofContext, ...list(turn), 'int32_t']);
  const wait = func('quamba_wait', [ofContext]);
  const state = func('quamba_state_tensor', [ofContext, 'int32_t', output(tensor)]);
  const getState = func('quamba_get_state', [ofContext, 'int32_t', ...list(tensor)]);
  const setState = func('quamba_set_state', [ofContext, 'int32_t', ...list(tensor)]);
  const copyState = func('quamba_copy_state', [ofContext, 'int32_t', 'int32_t']);

  /** A plan on the GPU. */
  const opened = (openWith: (options: unknown, out: unknown[]) => void, options: PlanOptions) => {
    const { sequences = SEQUENCES, chunk = 0, precision = 'exact', decode = 'best' } = options;
    const given: unknown[] = [null];
    openWith({ sequences, chunk, precision: PRECISIONS[precision], decode: DECODES[decode] }, given);
    const [handle] = given;
    const found = {} as Omit<ContextInfo, 'decode'> & { decode: number };
    describe(handle, found);
    const names = Object.keys(DECODES) as Decode[];
    const chosen = names.find(name => DECODES[name] === found.decode)!;
    return {
      info: { ...found, decode: chosen } satisfies ContextInfo,
      /** Where no turn wants its logits, the work is queued, and `wait` waits for it. */
      feed: (turns: readonly NativeTurn[], which: keyof typeof LOGITS): void =>
        feed(handle, turns, turns.length, LOGITS[which]),
      wait: (): void => wait(handle),
      /** Name and shape of the state `index`. */
      state(index: number) {
        const described = {} as NativeTensor;
        state(handle, index, described);
        const { name, rank, shape } = described;
        return { name, shape: Array.from({ length: rank }, (_, i) => Number(shape[i])) };
      },
      getState: (sequence: number, tensors: readonly NativeTensor[]): void =>
        getState(handle, sequence, tensors, tensors.length),
      /** States that are not given become zeros. */
      setState: (sequence: number, tensors: readonly NativeTensor[]): void =>
        setState(handle, sequence, tensors, tensors.length),
      copyState: (from: number, to: number): void => copyState(handle, from, to),
      close: (): void => close(handle),
    };
  };

  return {
    op: (
      name: string,
      inputs: readonly NativeTensor[],
      attributes: readonly NativeAttribute[],
      outputs: readonly NativeTensor[],
    ): void => op(name, inputs, inputs.length, attributes, attributes.length, outputs, outputs.length),
    open: (graph: string, weights: readonly NativeTensor[], options: PlanOptions) =>
      opened((given, out) => open(graph, weights, weights.length, given, out), options),
    /** The bytes of a file that `quamba quantize` wrote. */
    openCheckpoint: (bytes: Uint8Array, options: PlanOptions) =>
      opened((given, out) => openCheckpoint(bytes, bytes.length, given, out), options),
    bandwidth(bytes: number): Bandwidth {
      const [read, copy] = [[0], [0]];
      bandwidth(bytes, read, copy);
      return { read: read[0], copy: copy[0] };
    },
  };
}
