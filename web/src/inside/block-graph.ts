/** What reads what in a block, from the model's own graph, so that the picture cannot show another model. */
import { graphOf, parseConfig } from 'lib/model/index.ts';
import type { Node } from 'quamba';
import { LAYOUTS } from './block-places.ts';

/** Two layers, so that the second is an ordinary one; no size matters to what reads what. */
const SIZES = {
  num_hidden_layers: 2,
  hidden_size: 4,
  vocab_size: 1,
  head_dim: 8,
  state_size: 4,
  n_groups: 1,
};
const SCOPE = 'layers.1.';
/** Ops that have no box: a part of what they read, and a constant. */
const isUnseen = (node: Node) => node.kind === 'op' && ['slice', 'neg-exp'].includes(node.op.name);

export interface Arrow {
  readonly from: string;
  readonly to: string;
}

export interface BlockGraph {
  readonly arrows: readonly Arrow[];
  /** What a part's weight is to the model. */
  readonly roles: ReadonlyMap<string, string>;
}

/** What reads what in one block of a family, by the names of its places. */
export function blockGraph(modelType: string): BlockGraph {
  const { places } = LAYOUTS[modelType];
  const roles = new Map<string, string>();
  const shown = new Map([['layers.0.h', 'input']]); // a value in the graph → where it comes from in the picture
  const arrows: Arrow[] = [];
  for (const node of graphOf(parseConfig({ model_type: modelType, ...SIZES }, modelType)).nodes) {
    const [out] = node.kind === 'site' ? [node.out] : node.kind === 'op' ? Object.values(node.out) : [''];
    if (!out.startsWith(SCOPE)) continue;
    const read = node.kind === 'site' ? [node.in] : node.kind === 'op' ? Object.values(node.in) : [];
    const from = read.flatMap(ref => shown.get(ref) ?? []);
    const name = out.slice(SCOPE.length);
    if (isUnseen(node)) {
      if (from.length) shown.set(out, from[0]);
      continue;
    }
    if (!places[name]) throw new Error(`The picture of a block has no place for ${name}.`);
    shown.set(out, name);
    if (node.kind === 'op' && node.role) roles.set(name, node.role);
    arrows.push(...from.map(each => ({ from: each, to: name })));
  }
  return { arrows, roles };
}
