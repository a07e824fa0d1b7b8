/** Bugs of the way a plan is run: between its ops, and from feed to feed. */
import { type OpNode, opNode, type Program, type Ref, takeApart, withNodes } from '../../graph.ts';
import { linear } from '../../ops/linear.ts';
import { f } from '../../ops/numerics.ts';
import { softplus } from '../../ops/softplus.ts';
import { initialState, interpret } from '../../run.ts';
import { tensor } from '../../tensor.ts';
import { type Broken, inExecutable } from './row.ts';

/** The program with the bias of every dt behind its softplus, by a product with the identity. */
function withLateBias(program: Program): Program {
  const { graph } = program;
  const nodes = takeApart(graph.nodes);
  const producer = new Map<Ref, OpNode>();
  for (const node of nodes)
    if (node.kind === 'op') for (const ref of Object.values(node.out)) producer.set(ref, node);
  /** The product whose bias comes before a value, seen through what only converts it. */
  const biased = (ref: Ref): OpNode | undefined => {
    const node = producer.get(ref);
    return node === undefined || 'b' in node.in ? node : biased(node.in.x ?? node.in.q ?? '');
  };
  const late = new Map(
    nodes.flatMap(node => {
      if (node.kind !== 'op' || node.op.name !== softplus.name) return [];
      const product = biased(node.in.x);
      return product ? [[node, product] as const] : [];
    }),
  );
  const stripped = new Set(late.values());
  const identities = new Map<string, number>();
  const rewritten = nodes.flatMap(node => {
    if (node.kind !== 'op') return node;
    if (stripped.has(node)) {
      const { b: _, ...rest } = node.in;
      return { ...node, in: rest };
    }
    const product = late.get(node);
    if (!product) return node;
    const d = graph.weights.get(product.in.b)!.shape[0];
    identities.set(`identity.${d}`, d);
    const before = `${node.out.y}.before-bias`;
    return [
      { ...node, out: { y: before } },
      opNode(linear, { x: before, w: `identity.${d}`, b: product.in.b }, node.out.y),
    ];
  });
  const constants = new Map(
    [...identities].map(([ref, d]) => {
      const read = () =>
        tensor(
          Float32Array.from({ length: d * d }, (_, i) => (i % (d + 1) === 0 ? 1 : 0)),
          [d, d],
        );
      return [ref, { dtype: 'f32', shape: [d, d], read }] as const;
    }),
  );
  return withNodes(program, rewritten, constants);
}

export const planBugs: readonly Broken[] = [
  inExecutable('dt-bias-after-softplus', 'softplus(dt) + bias in place of softplus(dt + bias).', program =>
    interpret(withLateBias(program)),
  ),
  inExecutable(
    'bits-depend-on-threads',
    'With more than one thread the last bit of the logits is another.',
    (program, options) => {
      const { feed } = interpret(program);
      const threads = options?.threads ?? 1;
      const off = threads > 1 ? 1 + 2 ** -22 : 1;
      return {
        about: { kernels: 'reference', threads, memoryBytes: 0, bytesPerToken: 0 },
        feed(...given) {
          const { logits, state } = feed(...given);
          return { logits: { ...logits, data: logits.data.map(x => f(x * off)) }, state };
        },
      };
    },
  ),
  inExecutable('executable-ignores-the-state', 'Each feed starts a text anew.', program => {
    const { feed } = interpret(program);
    return { feed: (tokens, _, options) => feed(tokens, initialState(program), options) };
  }),
  inExecutable(
    'executable-writes-into-the-state',
    'The state that was given is overwritten by the new one.',
    program => {
      const { feed } = interpret(program);
      return {
        feed(tokens, state, options) {
          const result = feed(tokens, state, options);
          for (const [ref, { data }] of Object.entries(result.state)) state[ref].data.set(data);
          return result;
        },
      };
    },
  ),
  inExecutable(
    'executable-returns-one-state',
    'What a feed returned as its state changes with the next feed.',
    program => {
      const { feed } = interpret(program);
      const only = initialState(program);
      return {
        feed(...given) {
          const { logits, state } = feed(...given);
          for (const [ref, { data }] of Object.entries(state)) only[ref].data.set(data);
          return { logits, state: only };
        },
      };
    },
  ),
  inExecutable(
    'executable-goes-on',
    'A feed goes on from where the last one ended, whatever state is given.',
    program => {
      const { feed } = interpret(program);
      let last = initialState(program);
      return {
        feed(tokens, _, options) {
          const result = feed(tokens, last, options);
          last = result.state;
          return result;
        },
      };
    },
  ),
];
