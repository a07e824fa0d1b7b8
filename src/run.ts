/**
 * Runs a program: one loop over its nodes. The same loop serves the float model, calibration and the integer plan.
 */
import type { Executable, FeedOptions } from './executable.ts';
import { flatten, type Input, type Program, type Ref, reads, takeApart } from './graph.ts';
import { type AnyOp, bind, formOf, type KeptStates, type Kernel } from './op.ts';
import { foldConstants } from './plan/fold.ts';
import { nameOf } from './plan/types.ts';
import { verify } from './plan/verify.ts';
import { inputOf, type Places, type PlaceTurn, sequences } from './sequences.ts';
import { type Kept, type StateStore, type StateType, shapeAt, stateStore } from './state.ts';
import { lastRow, type Tensor, tensor } from './tensor.ts';

export type AnyKernel = Kernel<AnyOp['inputs'], AnyOp['outputs'], AnyOp['attrs'], AnyOp['states']>;

/**
 * Runs a program once on the reference: a whole text, from its start. Returns the logits f32[l, v].
 *
 * @throws TypeError for a program that the verifier refuses
 */
export const run = (program: Program, tokens: Input, options?: FeedOptions): Tensor<'f32'> =>
  interpret(program).open().feed(tokens, options);

/** How a state of a program is kept, its steps read. */
export const keptAs = ({ weights }: Program, { dtype, scale }: StateType): Kept =>
  scale === undefined ? { dtype } : { dtype, scale: weights.read(scale).data as Float32Array };

export type KernelOf = (op: AnyOp, kept: KeptStates) => AnyKernel;

/** A program that was made in memory. @throws TypeError naming the node that the verifier refuses */
export const verified = (program: Program): Program =>
  verify(program, 'program', undefined, node => `program: ${nameOf(node)}`);

/**
 * An executable that calls one kernel for each op, by `kernelOf`: by default the reference.
 *
 * @throws TypeError for a program that the verifier refuses
 */
export function interpret(given: Program, kernelOf?: KernelOf): Executable {
  const program = verified(given);
  return sequences(program, interpretedPlaces(program, kernelOf));
}

/** What an observer gets is its own to change. */
const copyOf = ({ dtype, shape, data }: Tensor<'f32'>): Tensor<'f32'> => ({
  dtype,
  shape: [...shape],
  data: data.slice(),
});

/** The places of `interpret`, in JavaScript's own memory. */
export function interpretedPlaces(program: Program, kernelOf: KernelOf = op => op.reference): Places {
  const folded = foldConstants(program);
  const { graph, weights } = folded;
  const constants = new Map([...graph.weights.keys()].map(ref => [ref, weights.read(ref)]));
  const nodes = takeApart(graph.nodes);
  const lastRead = new Map(nodes.flatMap((node, i) => reads(node).map(ref => [ref, i] as const)));
  lastRead.set(graph.result, nodes.length);

  const types = [...graph.states].map(([ref, type]) => ({ ref, type, kept: keptAs(folded, type) }));
  type Stores = ReadonlyMap<Ref, StateStore>;
  const fresh = (): Stores => new Map(types.map(({ ref, type, kept }) => [ref, stateStore(type, kept)]));
  const stores = new Map<number, Stores>();
  let taken = 0;

  const feedOne = (
    { place, tokens, rows }: PlaceTurn,
    { observe, logits: wanted }: FeedOptions,
  ): Tensor<'f32'> => {
    const states = stores.get(place)!;
    const values = new Map<Ref, Tensor>([[graph.input, inputOf(graph, tokens, rows)]]);
    const get = (ref: Ref): Tensor => values.get(ref) ?? constants.get(ref)!;
    for (const [i, node] of nodes.entries()) {
      if (node.kind === 'site') {
        const x = get(node.in) as Tensor<'f32'>;
        observe?.(node.site, node.out, copyOf(x));
        values.set(node.out, x);
      } else {
        const view = (ref: Ref) => states.get(ref)!.view(rows);
        const given = Object.entries(node.in).map(([key, ref]) => [key, get(ref)]);
        const carried = Object.entries(node.states).map(([key, ref]) => [key, view(ref)]);
        const call = bind(node.op, Object.fromEntries([...given, ...carried]), node.attrs);
        kernelOf(node.op, call.states)(call.inputs, call.attrs, call.outputs, call.dims, call.states);
        for (const [key, ref] of Object.entries(node.out)) values.set(ref, call.outputs[key]);
      }
      for (const ref of reads(node)) if (lastRead.get(ref) === i) values.delete(ref);
    }
    const logits = values.get(graph.result) as Tensor<'f32'>;
    return wanted === 'last' ? lastRow(logits) : logits;
  };

  return {
    take() {
      stores.set(taken, fresh());
      return taken++;
    },
    release: place => void stores.delete(place),
    clear: place => void stores.set(place, fresh()),
    copy(from, to) {
      for (const [ref, store] of stores.get(to)!) store.copy(stores.get(from)!.get(ref)!);
    },
    read(place, position) {
      const values = (ref: Ref) => stores.get(place)!.get(ref)!.values();
      return new Map(types.map(({ ref, type }) => [ref, tensor(values(ref), shapeAt(type, position))]));
    },
    write(place, values, position) {
      for (const [ref, store] of stores.get(place)!) store.load(position, values.get(ref)!.data);
    },
    feed: (turns, options) => turns.map(turn => feedOne(turn, options)),
  };
}

/** The ops that a program needs of a backend, with how their states are kept, by the word for both (`formOf`). */
export const formsOf = ({
  graph,
}: Program): ReadonlyMap<string, { readonly op: AnyOp; readonly kept: KeptStates }> =>
  new Map(
    flatten(graph.nodes).map(({ op, states }) => {
      const kept = Object.fromEntries(
        Object.entries(states).map(([key, ref]) => [key, { dtype: graph.states.get(ref)!.dtype }]),
      );
      return [formOf(op, kept), { op, kept }] as const;
    }),
  );
