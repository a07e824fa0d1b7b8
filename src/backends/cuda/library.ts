/**
 * Finds and loads the shared library of cuda/, by koffi, which is an optional dependency. Whatever is missing is a reason in
 * one sentence, not an error: everything else of quamba works without.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ABI, MAX_RANK, STATUS } from './abi.ts';

/** Where `npm run build:cuda` puts it. */
const BUILT = fileURLToPath(new URL('../../../cuda/build/libquamba_cuda.so', import.meta.url));

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

export interface Library {
  readonly path: string;
  readonly device: Device;
  /** The architectures with machine code in it: `sm_80 sm_87`. */
  readonly builtFor: string;
  readonly signatures: ReadonlySet<string>;
  op(
    name: string,
    inputs: readonly NativeTensor[],
    attributes: readonly NativeAttribute[],
    outputs: readonly NativeTensor[],
  ): number;
  /** What the last failed call has to say. */
  error(): string;
}

/** What is used of koffi. */
interface Koffi {
  load(path: string): {
    // biome-ignore lint/suspicious/noExplicitAny: what a C function takes and returns
    func(name: string, result: string, parameters: readonly unknown[]): (...given: any[]) => any;
  };
  struct(fields: Readonly<Record<string, unknown>>): unknown;
  array(type: string, length: number): unknown;
  pointer(type: unknown): unknown;
  out(type: unknown): unknown;
}

/**
 * The library at a path, ready to run ops on the GPU; else why it is not.
 *
 * @internal `koffi`: what gives koffi, for tests.
 */
export function loadLibrary(
  named: string = process.env.QUAMBA_CUDA_LIB || BUILT,
  koffi: () => unknown = () => createRequire(import.meta.url)('koffi'),
): { readonly library: Library } | { readonly why: string } {
  const path = resolve(named);
  if (!existsSync(path))
    return { why: `there is no ${path}: npm run build:cuda makes the library, or QUAMBA_CUDA_LIB names one` };
  let loaded: Koffi;
  try {
    loaded = koffi() as Koffi;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = `koffi cannot be loaded: ${message.split('\n')[0]}`;
    return { why: code === 'MODULE_NOT_FOUND' ? 'koffi is not installed: npm install koffi' : why };
  }
  try {
    return open(loaded, path);
  } catch (error) {
    return { why: `${path} cannot be used: ${(error as Error).message}` };
  }
}

function open(koffi: Koffi, path: string): ReturnType<typeof loadLibrary> {
  const lib = koffi.load(path);
  const abi = lib.func('quamba_abi', 'int32_t', [])();
  if (abi !== ABI) return { why: `${path} has ABI ${abi}; this version of quamba needs ABI ${ABI}` };

  const error = lib.func('quamba_error', 'const char *', []);
  const info = koffi.struct({
    name: koffi.array('char', 256),
    sm: 'int32_t',
    multiprocessors: 'int32_t',
    memory: 'uint64_t',
  });
  const device = {} as Device;
  if (lib.func('quamba_device', 'int', [koffi.out(koffi.pointer(info))])(device) !== STATUS.OK)
    return { why: error() };

  const signature = lib.func('quamba_op_signature', 'const char *', ['int32_t']);
  const signatures = new Set<string>();
  for (let text = signature(0); text !== null; text = signature(signatures.size)) signatures.add(text);

  const tensors = koffi.pointer(
    koffi.struct({
      name: 'const char *',
      dtype: 'int32_t',
      rank: 'int32_t',
      shape: koffi.array('int64_t', MAX_RANK),
      data: 'void *',
    }),
  );
  const attributes = koffi.pointer(
    koffi.struct({ name: 'const char *', number: 'double', text: 'const char *' }),
  );
  const list = (type: unknown) => [type, 'int32_t'];
  const op = lib.func('quamba_op', 'int', [
    'const char *',
    ...list(tensors),
    ...list(attributes),
    ...list(tensors),
  ]);
  return {
    library: {
      path,
      device,
      builtFor: lib.func('quamba_built_for', 'const char *', [])(),
      signatures,
      op: (name, inputs, attrs, outputs) =>
        op(name, inputs, inputs.length, attrs, attrs.length, outputs, outputs.length),
      error,
    },
  };
}
