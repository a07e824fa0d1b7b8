/**
 * A backend that is another program: `exec:COMMAND`. The protocol is in docs/conformance-protocol.md.
 *
 * Kernels are synchronous, pipes are not. So a worker owns the program's pipes, and this thread sleeps until it has
 * answered.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { bytesOf } from '../../formats/bytes.ts';
import { type JsonObject, object, parseJson, show } from '../../formats/json.ts';
import { type Attrs, formOf, givenOf, resultsOf } from '../../op.ts';
import type { AnyKernel } from '../../run.ts';
import type { StateView } from '../../state.ts';
import { BYTES, type DType, sizeOf, type Tensor, tensor } from '../../tensor.ts';
import { type Backend, Unsupported } from '../backend.ts';

export interface ExecBackend extends Backend {
  /** Ends the program. */
  dispose(): void;
}

/** The data of a tensor begins at a multiple of this many bytes: a cache line, which suits every SIMD type. */
const ALIGNMENT = 64;
/** How much longer this thread waits for the worker than the worker waits for the program, in milliseconds. */
const GRACE = 10_000;

const SILENT = 'does not answer, nor does the thread that runs it';

/** Where a tensor lies in the data of a frame. */
interface Place {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}
type Tensors = Readonly<Record<string, Tensor>>;

/** Places the tensors one after the other, each aligned. The total is where the last one ends. */
export function layOut(tensors: Tensors): { readonly places: readonly Place[]; readonly total: number } {
  let total = 0;
  const places = Object.entries(tensors).map(([name, { dtype, shape }]) => {
    const offset = Math.ceil(total / ALIGNMENT) * ALIGNMENT;
    const bytes = sizeOf(shape) * BYTES[dtype];
    total = offset + bytes;
    return { name, dtype, shape, offset, bytes };
  });
  return { places, total };
}

/** A frame: the bytes of the header (u32), the bytes of the data (u32), the header, the data. */
function frameOf(header: object, size: number) {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const frame = new Uint8Array(8 + json.length + size);
  const view = new DataView(frame.buffer);
  view.setUint32(0, json.length, true);
  view.setUint32(4, size, true);
  frame.set(json, 8);
  return { frame, data: frame.subarray(8 + json.length) };
}

/**
 * The frame of a call, as it goes to the program. States stand among the inputs and the outputs; `kept` says how they are kept
 * where that is not f32, and the steps of int8 are one more input, `h.scale`.
 */
export function callFrame(
  op: string,
  attrs: Attrs,
  inputs: Tensors,
  outputs: Tensors,
  kept: Readonly<Record<string, string>> = {},
) {
  const { places, total } = layOut(inputs);
  const header = {
    op,
    attrs,
    ...(Object.keys(kept).length > 0 && { kept }),
    inputs: places,
    outputs: layOut(outputs).places,
  };
  const { frame, data } = frameOf(header, total);
  for (const { name, offset } of places) data.set(bytesOf(inputs[name].data), offset);
  return frame;
}

/**
 * The words of a command such as `python3 "my backend.py"`. No shell runs it: there are no pipes and no variables, and there is no
 * process to kill but the program.
 *
 * @throws RangeError where there is no word, or a quote is not closed.
 */
export function splitCommand(command: string): readonly string[] {
  const quoted = /"([^"]*)"|'([^']*)'/g;
  if (/["']/.test(command.replace(quoted, '')))
    throw new RangeError(`exec:${command}: a quote is not closed`);
  const words = command.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g);
  if (!words) throw new RangeError('exec: expected a command, such as exec:./backend');
  return words.map(word => word.replace(quoted, '$1$2'));
}

/** What the worker is asked for. `most`: bytes of data that the answer may have. */
export type Request =
  | { readonly hello: true }
  | { readonly frame: Uint8Array<ArrayBuffer>; readonly most: number }
  | { readonly end: true };
export interface Reply {
  readonly failure?: string;
  readonly header?: Uint8Array<ArrayBuffer>;
  readonly data?: Uint8Array<ArrayBuffer>;
}
export interface WorkerData {
  readonly command: readonly string[];
  readonly timeout: number;
  readonly signal: Int32Array;
  readonly port: MessagePort;
}

/**
 * Starts the program and asks it for its name and its ops. Where it dies, answers nonsense or takes longer than `timeout`
 * milliseconds, the kernel throws one sentence that says so, and the next call starts it anew.
 *
 * @throws Error when it cannot be started or gives no greeting.
 */
export function execBackend(command: string, { timeout = 30_000 } = {}): ExecBackend {
  const words = splitCommand(command);
  const signal = new Int32Array(new SharedArrayBuffer(4));
  const { port1: port, port2 } = new MessageChannel();
  const workerData: WorkerData = { command: words, timeout, signal, port: port2 };
  const worker = new Worker(new URL('./worker.mjs', import.meta.url), {
    execArgv: [],
    workerData,
    transferList: [port2],
  });
  worker.unref();

  let silent = false; // once silent, always silent: a late answer could be taken for that of another call
  const ask = (request: Request): Reply => {
    if (silent) return { failure: SILENT };
    const before = Atomics.load(signal, 0);
    port.postMessage(request, 'frame' in request ? [request.frame.buffer] : []);
    // a wake-up may come from the call before, so only the count says that this one is answered
    while (Atomics.load(signal, 0) === before && !silent)
      // twice, since a program that is started anew has this time to greet, too
      silent = Atomics.wait(signal, 0, before, 2 * timeout + GRACE) === 'timed-out';
    return receiveMessageOnPort(port)?.message ?? { failure: SILENT };
  };
  const answered = (who: string, request: Request): { header: JsonObject; data: Uint8Array } => {
    const { failure, header = new Uint8Array(), data = new Uint8Array() } = ask(request);
    if (failure) throw new Error(`${who}: the program ${failure}`);
    const parsed = parseJson(header, `${who}: the header of its answer`);
    return { header: object(parsed, `${who}: answer`), data };
  };
  const dispose = (): void => {
    ask({ end: true });
    port.close();
    worker.terminate();
  };

  let name: string;
  let ops: readonly string[];
  try {
    const { header } = answered(`exec:${command}`, { hello: true });
    ({ name, ops } = checkGreeting(command, header));
  } catch (error) {
    dispose();
    throw error;
  }

  const kernels = new Map<string, AnyKernel>(
    ops.map(form => [
      form,
      (inputs, attrs, outputs, _, states) => {
        const [op] = form.split('/');
        const views: readonly (readonly [string, StateView])[] = Object.entries(states);
        const steps = views.flatMap(([key, { scale }]) => (scale ? [[`${key}.scale`, tensor(scale)]] : []));
        const given = { ...givenOf({ inputs: inputs as Tensors, states }), ...Object.fromEntries(steps) };
        const made = resultsOf({ outputs: outputs as Tensors, states });
        const kept = Object.fromEntries(
          views.flatMap(([key, { dtype }]) => (dtype === 'f32' ? [] : [[key, dtype]])),
        );
        const { places, total } = layOut(made);
        const frame = callFrame(op, attrs, given, made, kept);
        const who = `backend ${name}: ${form}`;
        const { header, data } = answered(who, { frame, most: total });
        if (typeof header.unsupported === 'string') throw new Unsupported(header.unsupported);
        if (typeof header.error === 'string') throw new Error(`${who}: ${header.error}`);
        if (header.ok !== true)
          throw new Error(
            `${who}: answer expected {"ok": true}, {"unsupported": why} or {"error": why}; got ${show(header)}`,
          );
        if (data.length !== total)
          throw new Error(`${who}: answered with ${data.length} bytes of outputs; expected ${total}`);
        for (const { name: key, offset, bytes } of places)
          bytesOf(made[key].data).set(data.subarray(offset, offset + bytes));
      },
    ]),
  );
  return { name, kernelOf: (op, kept) => kernels.get(formOf(op, kept)), dispose };
}

function checkGreeting(command: string, header: JsonObject): { name: string; ops: string[] } {
  const { name, ops } = header;
  if (typeof name !== 'string' || !Array.isArray(ops) || !ops.every(op => typeof op === 'string'))
    throw new Error(`exec:${command}: greeting expected {"name": text, "ops": [texts]}; got ${show(header)}`);
  return { name, ops };
}
