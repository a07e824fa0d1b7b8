/** What a recipe rotates of a graph, and whether there is a Hadamard matrix for it. */
import type { Graph } from '../graph.ts';
import { factor } from '../ops/hadamard.ts';
import { inferTypes } from '../plan/types.ts';
import { streamOf } from './residual.ts';
import { type Recipe, siteAction } from './scheme.ts';

/** What the recipe rotates though it cannot, if there is anything. */
export function unrotatable(
  graph: Graph,
  recipe: Recipe,
): { readonly what: string; readonly size: number } | undefined {
  const types = inferTypes(graph);
  const isRotated = (site: string) => siteAction(recipe, site).basis === 'hadamard';
  const rotated = graph.nodes.flatMap(node =>
    node.kind === 'site' && isRotated(node.site) ? [{ what: node.site, out: node.out }] : [],
  );
  const stream = recipe.residual ? [...streamOf(graph)] : [];
  return [...stream.map(out => ({ what: 'the residual stream', out })), ...rotated]
    .map(({ what, out }) => ({ what, size: Number(types.get(out)!.shape[1]) }))
    .find(({ size }) => factor(size) === undefined);
}
