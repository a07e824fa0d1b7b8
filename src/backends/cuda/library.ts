/**
 * Finds and loads the shared library of cuda/, by koffi, which is an optional dependency. Whatever is missing is a reason in
 * one sentence, not an error: everything else of quamba works without.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ABI, STATUS } from './abi.ts';
import { bindAll, type Device, type Functions, type Koffi } from './functions.ts';

/** A path, since bundlers look for what is resolved with import.meta.url or an imported createRequire, and nothing need be there. */
const HERE = fileURLToPath(import.meta.url);

/** Where `npm run build:cuda` puts it. */
const BUILT = join(HERE, '../../../../cuda/build/libquamba_cuda.so');

/** It is there, it fits this version, and there is a GPU for it. */
export interface Library extends Functions {
  readonly path: string;
  readonly device: Device;
  /** The architectures with machine code in it: `sm_80 sm_87`. */
  readonly builtFor: string;
  /** Of the ops that it has. */
  readonly signatures: ReadonlySet<string>;
}

/**
 * The library at a path, ready for the GPU; else why it is not.
 *
 * @internal `koffi`: what gives koffi, for tests.
 */
export function loadLibrary(
  named: string = process.env.QUAMBA_CUDA_LIB || BUILT,
  koffi: () => unknown = () => process.getBuiltinModule('node:module').createRequire(HERE)('koffi'),
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
  const text = 'const char *';
  const abi = lib.func('quamba_abi', 'int32_t', [])();
  if (abi !== ABI) return { why: `${path} has ABI ${abi}; this version of quamba needs ABI ${ABI}` };

  const info = koffi.struct({
    name: koffi.array('char', 256),
    sm: 'int32_t',
    multiprocessors: 'int32_t',
    memory: 'uint64_t',
  });
  const device = {} as Device;
  if (lib.func('quamba_device', 'int', [koffi.out(koffi.pointer(info))])(device) !== STATUS.OK)
    return { why: lib.func('quamba_error', text, [])() };

  const signature = lib.func('quamba_op_signature', text, ['int32_t']);
  const signatures = new Set<string>();
  for (let found = signature(0); found !== null; found = signature(signatures.size)) signatures.add(found);
  const builtFor = lib.func('quamba_built_for', text, [])();
  return { library: { path, device, builtFor, signatures, ...bindAll(koffi, lib) } };
}
