/**
 * The WebAssembly modules, and which of them this engine computes right: a feature flag is not enough, since the relaxed
 * dot product is left to the engine and some compute it wrongly. So a variant is taken after it gave known answers.
 */
import { KERNELS } from '#kernels';
import { once } from '../../once.ts';
import { SYNC, TURNS, TURNS_BYTES } from './sync.ts';

/** The first byte that is free for plans. Below lie the kernels' constants, and the words of sync.ts. */
export const BASE = TURNS + TURNS_BYTES;

export type VariantName = 'simd' | 'relaxed-simd';

/** Kernels that this engine computes right. */
export interface Variant {
  readonly name: VariantName;
  /** For the int8 tiles, see pack.ts: weights biased for the plain product, or what is added to x for the engine's own. */
  readonly tiles: TileFormat;
}
export type TileFormat = { readonly bias: true } | { readonly bias: false; readonly offset: number };

/** What was found of a variant on this engine: whether it can be used, and why. */
interface Probe {
  readonly name: VariantName;
  readonly variant?: Variant;
  readonly why: string;
}

export interface Kernels {
  readonly memory: WebAssembly.Memory;
  /** These three: see assembly/pool.ts. */
  run(at: number, end: number, rows: number, threads: number, own: number, ownBytes: number): number;
  join(): number;
  work(): void;
  dot(a: number, b: number): number;
  dotHalves(a: number, b: number): number;
  setOffset(value: number): void;
}

const PAGE = 65536;
/** All that 32-bit addresses reach: 4 GiB. */
const MOST_PAGES = 65536;
export const MOST_BYTES = PAGE * MOST_PAGES;

const compiled = new Map<string, WebAssembly.Module>();

/** The module of a variant, with or without threads: compiled once. */
export function moduleOf(name: VariantName, threads: boolean): WebAssembly.Module {
  const key = threads ? (`${name}-threads` as const) : name;
  const module = compiled.get(key) ?? new WebAssembly.Module(codeOf(key));
  compiled.set(key, module);
  return module;
}

const codeOf = (key: keyof typeof KERNELS) => Uint8Array.from(atob(KERNELS[key]), c => c.charCodeAt(0));

/** Why a module could not be compiled. */
function obstacle(name: VariantName): string {
  if (typeof WebAssembly === 'undefined') return 'there is no WebAssembly here';
  if (!WebAssembly.validate(codeOf(name))) return `this engine has no WebAssembly of the kind ${name}`;
  return "WebAssembly may not be compiled here; a Content-Security-Policy must allow it (script-src 'wasm-unsafe-eval')";
}

/** A new instance over a new memory of at least `bytes`, shared if it is for threads. */
export function instantiate({ name, tiles }: Variant, bytes: number, threads = false): Kernels {
  const memory = new WebAssembly.Memory(
    threads ? { initial: pages(bytes), maximum: MOST_PAGES, shared: true } : { initial: pages(bytes) },
  );
  const kernels = instanceOf(name, memory, threads);
  if (!tiles.bias) kernels.setOffset(tiles.offset);
  return kernels;
}

function instanceOf(name: VariantName, memory: WebAssembly.Memory, threads: boolean): Kernels {
  const { exports } = new WebAssembly.Instance(moduleOf(name, threads), { env: { memory } });
  const { heapBase, ...functions } = exports as { heapBase: WebAssembly.Global };
  if (heapBase.value > SYNC)
    throw new Error(`wasm: the kernels' constants end at ${heapBase.value}, above ${SYNC}`);
  return { memory, ...functions } as unknown as Kernels;
}

/**
 * Makes the memory at least `bytes` large. Every view of it made before is void. Growing takes some milliseconds, by however much,
 * so that a memory that has to grow gets an eighth more where the machine gives it: room for the next sequences.
 */
export function grow({ memory }: Kernels, bytes: number): void {
  const there = memory.buffer.byteLength / PAGE;
  const needed = pages(bytes);
  if (needed <= there) return;
  for (const wanted of [Math.min(needed + (needed >> 3), MOST_PAGES), needed])
    try {
      memory.grow(wanted - there);
      return;
    } catch {} // less may do
  throw new RangeError(`wasm: needs ${bytes} bytes; this machine does not give them`);
}

function pages(bytes: number): number {
  const count = Math.ceil(bytes / PAGE);
  if (count > MOST_PAGES)
    throw new RangeError(`wasm: needs ${bytes} bytes; a memory holds at most ${MOST_BYTES}`);
  return count;
}

/** What the sum of four products −128 · 255 is, by what the engine takes the second factor for. */
const SIGNED = 4 * -128 * -1;
const UNSIGNED = 4 * -128 * 255;

/** Every variant, the best first, each asked once. */
export const probes = once((): readonly Probe[] => [relaxed(), plain()]);

/** The best variant that this engine computes right, or undefined where it has no SIMD. */
export const best = (): Variant | undefined => probes().find(({ variant }) => variant)?.variant;

/** @throws Error where this engine cannot run the variant, saying why. */
export function variantOf(name?: VariantName): Variant {
  const found = probes().filter(probe => name === undefined || probe.name === name);
  const chosen = found.find(({ variant }) => variant)?.variant;
  if (!chosen)
    throw new Error(`backend wasm: ${found.map(probe => `${probe.name}: ${probe.why}`).join('; ')}`);
  return chosen;
}

function plain(): Probe {
  const name = 'simd';
  try {
    moduleOf(name, false);
    return { name, variant: { name, tiles: { bias: true } }, why: 'exact by the standard' };
  } catch {
    return { name, why: obstacle(name) };
  }
}

function relaxed(): Probe {
  const name = 'relaxed-simd';
  let kernels: Kernels;
  try {
    kernels = instanceOf(name, new WebAssembly.Memory({ initial: pages(BASE) }), false);
  } catch {
    return { name, why: obstacle(name) };
  }
  const answer = kernels.dot(0x80808080 | 0, -1);
  if (answer !== SIGNED && answer !== UNSIGNED)
    return {
      name,
      why: `its dot product saturates (−128 · 255 four times gives ${answer}), so that it is not exact`,
    };
  const signed = answer === SIGNED;
  const wrong = wrongAnswer(kernels.dot, signed) || wrongAnswer(kernels.dotHalves, signed, 0x0f0f0f0f);
  if (wrong) return { name, why: `its dot product is wrong: ${wrong}` };
  const about = signed ? 'signed by signed' : 'signed by unsigned';
  return {
    name,
    variant: { name, tiles: { bias: false, offset: signed ? 0 : 128 } },
    why: `its dot product is exact, ${about}`,
  };
}

/** More calls than an engine takes to replace its first, quick compilation by a better one, which may compute otherwise. */
const ANSWERS = 20_000;

/**
 * The first of many products of four pairs, over the whole range (the second factor's within `mask`), that is not what it should
 * be; '' where all are right.
 */
function wrongAnswer(dot: Kernels['dot'], signed: boolean, mask = -1): string {
  let random = 1;
  for (let i = 0; i < ANSWERS; i++) {
    random = Math.imul(random ^ (random >>> 15), 0x2c1b3c6d) + i;
    const a = i & 1 ? random : Math.imul(random, 0x297a2d39) | 0x80808080;
    const b = (i & 2 ? Math.imul(random, 0x85ebca6b) : ~random | 0x7f7f7f7f) & mask;
    let sum = 0;
    for (let shift = 0; shift < 32; shift += 8) {
      const y = (b >> shift) & 255;
      sum += (((a >> shift) << 24) >> 24) * (signed && y > 127 ? y - 256 : y);
    }
    const answer = dot(a, b);
    if (answer !== sum) return `${a} · ${b} as four bytes each is ${sum}, and it says ${answer}`;
  }
  return '';
}
