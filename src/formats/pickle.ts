/**
 * Reads a pickle of protocol 2 as far as a checkpoint needs it: texts, numbers, tuples, lists, dictionaries, and what a
 * given table makes of the names in it. A pickle is a program: it names functions and calls them. Here a name is looked up
 * in that table and nowhere else, so a file can call nothing but what its reader wrote down; every other name, and every
 * instruction that a checkpoint does not use, is refused with its position.
 *
 * What it holds is bounded by its length and by the number of its instructions: each makes at most one value, and none copies
 * one. The length alone is not enough, since an instruction of one byte makes a dictionary of two hundred.
 *
 * Source  CPython, Lib/pickletools.py (the instructions) · torch/_weights_only_unpickler.py (which of them PyTorch needs)
 */
import { decodeUtf8 } from './bytes.ts';
import { show } from './json.ts';
import { refuse, refusing } from './refusal.ts';

/** Tuples and lists are arrays, dictionaries are maps. */
export type Pickled = unknown;

/** What a name stands for: a function that REDUCE may call, or a constant that only the reader's functions look at. */
export interface Allowed {
  readonly name: string;
  /** @throws Error when the arguments are not what it takes; the message is completed with the place. */
  readonly call?: (args: readonly Pickled[]) => Pickled;
}

export interface PickleReader {
  /** By module and name: `torch._utils _rebuild_tensor_v2`. */
  readonly allowed: ReadonlyMap<string, Allowed>;
  /** What a persistent id (PyTorch's word for a storage) stands for. */
  persistent(id: Pickled): Pickled;
  /** Whether BUILD, which sets attributes of a value, may stand there. It does nothing. */
  mayBuild(value: Pickled, state: Pickled): boolean;
}

const MOST_DEPTH = 1000;
/** The pickle of a checkpoint of 2.8 B parameters has about 30,000. */
const MOST_INSTRUCTIONS = 1 << 18;

/**
 * @param where begins every complaint: the file.
 * @throws Error in one sentence with the position of the instruction.
 */
export function unpickle(bytes: Uint8Array, where: string, reader: PickleReader): Pickled {
  const machine: Machine = {
    bytes,
    at: 0,
    done: 0,
    ended: false,
    stack: [],
    marks: [],
    memo: new Map(),
    reader,
  };
  while (!machine.ended) refusing(`${where}: byte ${machine.at} of the pickle`, () => step(machine));
  return machine.stack[0];
}

function step(m: Machine): void {
  if (++m.done > MOST_INSTRUCTIONS) refuse(`more than ${MOST_INSTRUCTIONS} instructions`);
  const code = String.fromCharCode(take(m, 1)[0]);
  const run = STEPS[code];
  if (!run) refuse(`instruction ${OPCODE_NAMES[code] ?? hexOf(code)} is not allowed`);
  run(m);
  if (m.marks.length > MOST_DEPTH) refuse(`more than ${MOST_DEPTH} values one inside the other`);
}

/** The value of the pickle is all that is left, and the file ends here. */
function stop(m: Machine): void {
  top(m);
  if (m.stack.length > 1 || m.marks.length) refuse('values are left over at the end');
  if (m.at !== m.bytes.length) refuse(`expected to end here; ${m.bytes.length - m.at} bytes follow`);
  m.ended = true;
}

interface Machine {
  readonly bytes: Uint8Array;
  at: number;
  /** How many instructions were run. */
  done: number;
  ended: boolean;
  readonly stack: Pickled[];
  /** How high the stack was at each MARK. */
  readonly marks: number[];
  readonly memo: Map<number, Pickled>;
  readonly reader: PickleReader;
}

function take(m: Machine, count: number): Uint8Array {
  if (count > m.bytes.length - m.at)
    refuse(`needs ${count} more bytes; ${m.bytes.length - m.at} are left; is it cut off?`);
  m.at += count;
  return m.bytes.subarray(m.at - count, m.at);
}

/** The next bytes as an unsigned number. */
const unsigned = (m: Machine, width: 1 | 2 | 4): number =>
  take(m, width).reduceRight((value, byte) => value * 256 + byte, 0);

function pop(m: Machine): Pickled {
  if (m.stack.length <= (m.marks.at(-1) ?? 0)) refuse('expected a value on the stack; there is none');
  return m.stack.pop();
}

function popMark(m: Machine): Pickled[] {
  const height = m.marks.pop() ?? refuse('expected a MARK; there is none');
  return m.stack.splice(height);
}

function top(m: Machine): Pickled {
  const value = pop(m);
  m.stack.push(value);
  return value;
}

const text = (bytes: Uint8Array): string =>
  decodeUtf8(bytes, { ignoreBOM: true }) ?? refuse('text expected UTF-8; got bytes that are not');

function line(m: Machine): string {
  const end = m.bytes.indexOf(0x0a, m.at);
  if (end < 0) refuse('expected a line; there is no end of one; is it cut off?');
  const found = text(take(m, end - m.at));
  m.at++;
  return found;
}

/** Python's integers have no limit; ours end at 2^53. */
function long(bytes: Uint8Array): number {
  if (bytes.length > 8) refuse(`integer expected at most 8 bytes; got ${bytes.length}`);
  const value = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const signed = Number(BigInt.asIntN(8 * bytes.length, value));
  return Number.isSafeInteger(signed) ? signed : refuse(`integer ${signed} is beyond 2^53`);
}

function find(m: Machine): Allowed {
  const name = `${line(m)} ${line(m)}`;
  return (
    m.reader.allowed.get(name) ??
    refuse(`${show(name.replace(' ', '.'))} is not allowed: only tensors and what holds them is`)
  );
}

function reduce(m: Machine): void {
  const args = pop(m);
  const callee = pop(m);
  const known = isAllowed(m, callee) ? callee : undefined;
  if (!known?.call) refuse(`REDUCE calls ${known?.name ?? describe(callee)}, which is no function`);
  if (!Array.isArray(args)) refuse(`REDUCE expected a tuple of arguments; got ${describe(args)}`);
  m.stack.push(known.call(args));
}

const isAllowed = (m: Machine, value: Pickled): value is Allowed =>
  [...m.reader.allowed.values()].includes(value as Allowed);

function build(m: Machine): void {
  const state = pop(m);
  const value = top(m);
  if (!m.reader.mayBuild(value, state)) refuse(`BUILD sets attributes of ${describe(value)}`);
}

function append(m: Machine, values: readonly Pickled[]): void {
  const list = top(m);
  if (!Array.isArray(list) || Object.isFrozen(list)) refuse(`expected a list; got ${describe(list)}`);
  for (const value of values) list.push(value);
}

function setItems(m: Machine, pairs: readonly Pickled[]): void {
  const map = top(m);
  if (!(map instanceof Map)) refuse(`expected a dictionary; got ${describe(map)}`);
  if (pairs.length % 2) refuse('a key has no value');
  for (let i = 0; i < pairs.length; i += 2) {
    const key = pairs[i];
    if (typeof key !== 'string' && typeof key !== 'number')
      refuse(`key expected a text or a number; got ${describe(key)}`);
    if (map.has(key)) refuse(`key ${show(key)} stands twice in one dictionary`);
    map.set(key, pairs[i + 1]);
  }
}

/** A value in a few words. */
export function describe(value: Pickled): string {
  if (value instanceof Map) return `a dictionary of ${value.size}`;
  if (Array.isArray(value)) return `${Object.isFrozen(value) ? 'a tuple' : 'a list'} of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'name' in value ? String(value.name) : 'an object';
  return value === null ? 'None' : show(value);
}

const tuple = (values: Pickled[]): Pickled => Object.freeze(values);
const put = (m: Machine, index: number): void => void m.memo.set(index, top(m));
function get(m: Machine, index: number): void {
  if (!m.memo.has(index)) refuse(`nothing was kept under number ${index}`);
  m.stack.push(m.memo.get(index));
}

type Step = (m: Machine) => void;
const push =
  (value: (m: Machine) => Pickled): Step =>
  m =>
    void m.stack.push(value(m));

/** The instructions that are allowed, by the character of their byte. What `torch.save` writes of a state dict is among them. */
const STEPS: Readonly<Record<string, Step>> = {
  '\x80': m => {
    const version = unsigned(m, 1);
    if (version !== 2) refuse(`pickle protocol expected 2, as torch.save writes; got ${version}`);
  },
  '.': stop,
  '(': m => void m.marks.push(m.stack.length),
  N: push(() => null),
  '\x88': push(() => true),
  '\x89': push(() => false),
  K: push(m => unsigned(m, 1)),
  M: push(m => unsigned(m, 2)),
  J: push(m => unsigned(m, 4) | 0),
  '\x8a': push(m => long(take(m, unsigned(m, 1)))),
  G: push(m => {
    const bytes = take(m, 8);
    return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0);
  }),
  X: push(m => text(take(m, unsigned(m, 4)))),
  ')': push(() => tuple([])),
  '\x85': push(m => tuple([pop(m)])),
  '\x86': push(m => tuple([pop(m), pop(m)].reverse())),
  '\x87': push(m => tuple([pop(m), pop(m), pop(m)].reverse())),
  t: push(m => tuple(popMark(m))),
  ']': push(() => []),
  a: m => append(m, [pop(m)]),
  e: m => append(m, popMark(m)),
  '}': push(() => new Map()),
  s: m => setItems(m, [pop(m), pop(m)].reverse()),
  u: m => setItems(m, popMark(m)),
  q: m => put(m, unsigned(m, 1)),
  r: m => put(m, unsigned(m, 4)),
  h: m => get(m, unsigned(m, 1)),
  j: m => get(m, unsigned(m, 4)),
  c: push(find),
  R: reduce,
  b: build,
  Q: push(m => m.reader.persistent(pop(m))),
};

const hexOf = (code: string): string => `0x${code.charCodeAt(0).toString(16).padStart(2, '0')}`;

/** Instructions that errors should call by name: those that call, import, or belong to other protocols. */
// biome-ignore format: a table
const OPCODE_NAMES: Readonly<Record<string, string>> = {
  '0': 'POP', '1': 'POP_MARK', '2': 'DUP', F: 'FLOAT', I: 'INT', L: 'LONG', P: 'PERSID', S: 'STRING',
  T: 'BINSTRING', U: 'SHORT_BINSTRING', V: 'UNICODE', d: 'DICT', g: 'GET', i: 'INST', l: 'LIST', o: 'OBJ', p: 'PUT',
  B: 'BINBYTES', C: 'SHORT_BINBYTES', '\x81': 'NEWOBJ', '\x82': 'EXT1', '\x83': 'EXT2', '\x84': 'EXT4',
  '\x8b': 'LONG4', '\x8c': 'SHORT_BINUNICODE', '\x8d': 'BINUNICODE8', '\x8e': 'BINBYTES8', '\x8f': 'EMPTY_SET',
  '\x90': 'ADDITEMS', '\x91': 'FROZENSET', '\x92': 'NEWOBJ_EX', '\x93': 'STACK_GLOBAL', '\x94': 'MEMOIZE',
  '\x95': 'FRAME', '\x96': 'BYTEARRAY8', '\x97': 'NEXT_BUFFER', '\x98': 'READONLY_BUFFER',
};
