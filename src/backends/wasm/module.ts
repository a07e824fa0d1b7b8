/** The WebAssembly module: compiled once, instantiated over a memory of the size that is asked for. */
import { KERNELS } from '#kernels';

export interface Kernels {
  readonly memory: WebAssembly.Memory;
  /** Runs the instructions from `at` to `end`. Returns 0, or the address of the one that met a NaN. */
  execute(at: number, end: number, rows: number): number;
}

const PAGE = 65536;
/** Below lie the module's own constants. */
export const BASE = PAGE;

let compiled: WebAssembly.Module | undefined;

/** A new instance over a new memory of at least `bytes`. */
export function instantiate(bytes: number): Kernels {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(KERNELS), c => c.charCodeAt(0)));
  const memory = new WebAssembly.Memory({ initial: pages(bytes) });
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  const { execute, heapBase } = exports as { execute: Kernels['execute']; heapBase: WebAssembly.Global };
  if (heapBase.value > BASE)
    throw new Error(`wasm: the kernels' constants end at ${heapBase.value}, above ${BASE}`);
  return { memory, execute };
}

/** Makes the memory at least `bytes` large. Every view of it made before is void. */
export function grow({ memory }: Kernels, bytes: number): void {
  const missing = pages(bytes) - memory.buffer.byteLength / PAGE;
  if (missing > 0) memory.grow(missing);
}

function pages(bytes: number): number {
  const count = Math.ceil(bytes / PAGE);
  if (count > PAGE) throw new RangeError(`wasm: needs ${bytes} bytes; a memory holds at most ${PAGE * PAGE}`);
  return count;
}
