/** The weights of a layer, by what stands in it. */
import { flatten, type Graph, type OpNode } from '../graph.ts';
import { ops } from '../ops/index.ts';
import { type LayerWord, type Recipe, type WeightScheme, weightScheme } from './scheme.ts';

/** The number of the layer that a node is of; undefined outside of the layers. */
const layerOf = ({ out }: OpNode): number | undefined => {
  const [, layer] = /^layers\.(\d+)\./.exec(Object.values(out)[0]) ?? [];
  return layer === undefined ? undefined : Number(layer);
};

/** What a recipe does to the weight of each node of a graph. */
export function weightSchemes(graph: Graph, recipe: Recipe): (node: OpNode) => WeightScheme | undefined {
  const nodes = recipe.weightsIn ? flatten(graph.nodes) : [];
  const attending = new Set(
    nodes.flatMap(node => (node.op.name === ops.attention.name ? layerOf(node) : [])),
  );
  const wordOf = (layer: number | undefined): LayerWord | undefined => {
    if (layer === undefined) return undefined;
    if (attending.has(layer)) return 'attention';
    return attending.has(layer + 1) ? 'beforeAttention' : undefined;
  };
  return node => weightScheme(recipe, node.role, wordOf(layerOf(node)));
}
