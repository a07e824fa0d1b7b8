/** Bugs in how a plan is run: between its ops, and from feed to feed. */
import type { Executable } from '../../executable.ts';
import type { LazyTensor, Program, Ref } from '../../graph.ts';
import { opNode, takeApart, withNodes } from '../../graph.ts';
import { linear } from '../../ops/linear.ts';
import { softplus } from '../../ops/softplus.ts';
import { interpret, interpretedPlaces } from '../../run.ts';
import { type Places, sequences } from '../../sequences.ts';
import { type Tensor, tensor } from '../../tensor.ts';
import { type Broken, inExecutable } from './row.ts';

const f = Math.fround;

/** The program in which the bias of every dt is added after the softplus, by a product with the identity. */
function withLateBias(program: Program): Program {
  const { graph } = program;
  const identities = new Map<Ref, LazyTensor>();
  let bias: Ref | undefined;
  const nodes = takeApart(graph.nodes).flatMap(node => {
    if (node.kind !== 'op') return node;
    if (node.in.b?.endsWith('dt_proj.bias')) {
      const { b, ...rest } = node.in;
      bias = b;
      return { ...node, in: rest };
    }
    if (node.op.name !== softplus.name || bias === undefined) return node;
    const d = graph.weights.get(bias)!.shape[0];
    const data = Float32Array.from({ length: d * d }, (_, i) => (i % (d + 1) === 0 ? 1 : 0));
    const identity = tensor(data, [d, d]);
    identities.set(`identity.${d}`, { ...identity, read: () => identity });
    const before = `${node.out.y}.before-bias`;
    return [
      { ...node, out: { y: before } },
      opNode(linear, { x: before, w: `identity.${d}`, b: bias }, node.out.y),
    ];
  });
  return withNodes(program, nodes, identities);
}

type Altered = {
  readonly [K in keyof Places]?: (places: Places, ...given: Parameters<Places[K]>) => ReturnType<Places[K]>;
};

/** The reference with some of what its places do replaced; each replacement is given the right places first. */
function altered(program: Program, others: Altered): Executable {
  const places = interpretedPlaces(program);
  const bound = Object.entries(others).map(([name, other]) => [
    name,
    (...given: unknown[]) => (other as (...all: unknown[]) => unknown)(places, ...given),
  ]);
  return sequences(program, { ...places, ...Object.fromEntries(bound) });
}

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const planBugs: readonly Broken[] = [
  inExecutable('dt-bias-after-softplus', 'softplus(dt) + bias in place of softplus(dt + bias).',
    program => interpret(withLateBias(program))),
  inExecutable('bits-depend-on-threads', 'With more than one thread the last bit of the logits is another.',
    (program, options) => {
      const threads = options?.threads ?? 1;
      const off = threads > 1 ? 1 + 2 ** -22 : 1;
      return {
        ...altered(program, {
          feed: (places, ...given) =>
            places.feed(...given).map(logits => ({ ...logits, data: logits.data.map(x => f(x * off)) })),
        }),
        about: { kernels: 'reference', threads, memoryBytes: 0, bytesPerToken: 0 },
      };
    }),
  inExecutable('feed-starts-anew', 'Each feed starts a text anew.', program =>
    altered(program, {
      feed(places, turns, options) {
        for (const { place } of turns) places.clear(place);
        return places.feed(turns, options);
      },
    }),
  ),
  inExecutable('load-changes-nothing', 'A sequence goes on from where it was, whatever state is loaded.',
    program => altered(program, { write() {}, clear() {} })),
  inExecutable('one-place-for-all', 'All sequences share one place.', program => {
    let only: number | undefined;
    return altered(program, {
      take: places => (only ??= places.take()),
      release() {},
    });
  }),
  inExecutable('fork-shares-its-place', 'A fork and its origin are one sequence.', program => {
    const origin = new Map<number, number>();
    const root = (place: number): number => origin.get(place) ?? place;
    return altered(program, {
      copy: (_, from, to) => void origin.set(to, root(from)),
      read: (places, place, position) => places.read(root(place), position),
      feed: (places, turns, options) =>
        places.feed(
          turns.map(turn => ({ ...turn, place: root(turn.place) })),
          options,
        ),
    });
  }),
  inExecutable('save-follows-the-text', 'What was saved changes with the next feed.', program => {
    const saved: { readonly place: number; readonly values: ReadonlyMap<Ref, Tensor<'f32'>> }[] = [];
    return altered(program, {
      read(places, place, position) {
        const values = places.read(place, position);
        saved.push({ place, values });
        return values;
      },
      feed(places, turns, options) {
        const logits = places.feed(turns, options);
        for (const { place, position, tokens } of turns)
          for (const [ref, { data }] of places.read(place, position + tokens.length))
            for (const one of saved) if (one.place === place) one.values.get(ref)!.data.set(data);
        return logits;
      },
    });
  }),
  inExecutable('batch-in-the-state-of-the-first',
    'Sequences that are fed together all go on from the state of the first.', program =>
      altered(program, {
        feed(places, turns, options) {
          for (const { place } of turns.slice(1)) places.copy(turns[0].place, place);
          return places.feed(turns, options);
        },
      })),
  inExecutable('failed-feed-stays', 'A feed that fails leaves the state that it got to.', program => {
    let failed = false;
    return altered(program, {
      clear: (places, ...given) => (failed ? undefined : places.clear(...given)),
      write: (places, ...given) => (failed ? undefined : places.write(...given)),
      feed(places, turns, options) {
        if (failed) return []; // what would bring the state back
        try {
          return places.feed(turns, options);
        } catch (error) {
          failed = true;
          throw error;
        }
      },
    });
  }),
];
