/** Bugs in how a plan is run: between its ops, and from feed to feed. */
import type { Executable } from '../../executable.ts';
import type { LazyTensor, Program, Ref } from '../../graph.ts';
import { flatten, opNode, takeApart, withNodes } from '../../graph.ts';
import type { AnyOp } from '../../op.ts';
import { attention } from '../../ops/attention.ts';
import { linear } from '../../ops/linear.ts';
import { rope } from '../../ops/rope.ts';
import { ropeTable } from '../../ops/rope-table.ts';
import { softplus } from '../../ops/softplus.ts';
import { interpret, interpretedPlaces } from '../../run.ts';
import { type Places, type PlaceTurn, sequences } from '../../sequences.ts';
import { isGrowing } from '../../state.ts';
import { type Tensor, tensor } from '../../tensor.ts';
import { type Broken, inExecutable } from './row.ts';

const f = Math.fround;
/** How many rows of a state that grows a backend may hold together. */
const PAGE = 128;

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

/** The program whose attention is given its keys as they are before RoPE turns them. */
function withKeysBeforeRope(program: Program): Program {
  const nodes = takeApart(program.graph.nodes);
  const before = new Map(
    nodes.flatMap(node =>
      node.kind === 'op' && node.op.name === rope.name ? [[node.out.y, node.in.x]] : [],
    ),
  );
  return withNodes(
    program,
    nodes.map(node =>
      node.kind === 'op' && node.op.name === attention.name
        ? { ...node, in: { ...node.in, k: before.get(node.in.k) ?? node.in.k } }
        : node,
    ),
  );
}

/** The states that an op carries in a program, under the name that they have there. */
const carriedBy = ({ graph }: Program, { name }: AnyOp, key: string): readonly Ref[] =>
  flatten(graph.nodes).flatMap(({ op, states }) => (op.name === name ? [states[key]] : []));

/** Replaces some of a place's states. */
function changing(
  places: Places,
  { place, position }: PlaceTurn,
  refs: readonly Ref[],
  other: (state: Tensor<'f32'>) => Float32Array,
): void {
  const values = new Map(places.read(place, position));
  for (const ref of refs) values.set(ref, { ...values.get(ref)!, data: other(values.get(ref)!) });
  places.write(place, values, position);
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
  inExecutable('keys-kept-before-rope', 'Keys are kept as they are before RoPE turns them, and read so.',
    program => interpret(withKeysBeforeRope(program))),
  inExecutable('positions-start-anew', 'RoPE counts positions from the start of each feed.', program =>
    altered(program, {
      feed(places, turns, options) {
        const fed = carriedBy(program, ropeTable, 'fed');
        for (const turn of turns) changing(places, turn, fed, () => Float32Array.of(0));
        return places.feed(turns, options);
      },
    })),
  inExecutable('keys-one-row-off', 'At each feed the rows of the keys move by one, those of the values stay.', program =>
    altered(program, {
      feed(places, turns, options) {
        const keys = carriedBy(program, attention, 'K');
        for (const turn of turns)
          changing(places, turn, keys, ({ data, shape: [t] }) => data.map((_, i) => data[(i + data.length / t) % data.length]));
        return places.feed(turns, options);
      },
    })),
  inExecutable('load-of-one-page', 'Of keys and values that are loaded the first 128 rows come back.', program =>
    altered(program, {
      write(places, place, values, position) {
        const first = (ref: Ref, { data, shape: [t] }: Tensor<'f32'>) =>
          isGrowing(program.graph.states.get(ref)!) ? data.map((x, i) => (i < (PAGE * data.length) / t ? x : 0)) : data;
        places.write(place, new Map([...values].map(([ref, value]) => [ref, { ...value, data: first(ref, value) }])), position);
      },
    })),
  inExecutable('fork-shares-its-last-page',
    'A fork and its origin write their next keys and values to the same rows, as if a page that is not full were no copy.',
    program => {
      const twins = new Map<number, number>();
      const ends = new Map<number, number>();
      const refs = [...carriedBy(program, attention, 'K'), ...carriedBy(program, attention, 'V')];
      return altered(program, {
        copy(places, from, to) {
          places.copy(from, to);
          for (const [a, b] of [[from, to], [to, from]]) twins.set(a, b);
          ends.set(to, ends.get(from) ?? 0);
        },
        feed(places, turns, options) {
          const logits = places.feed(turns, options);
          for (const { place, position, rows, ...turn } of turns) {
            const end = position + rows;
            ends.set(place, end);
            const twin = twins.get(place);
            const both = Math.min(twin === undefined ? 0 : ends.get(twin)!, end);
            if (twin === undefined || both <= position) continue;
            const mine = places.read(place, end);
            for (const ref of refs)
              changing(places, { ...turn, rows, place: twin, position: ends.get(twin)! }, [ref], ({ data, shape: [t] }) => {
                const row = data.length / t;
                data.set(mine.get(ref)!.data.subarray(position * row, both * row), position * row);
                return data;
              });
          }
          return logits;
        },
      });
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
