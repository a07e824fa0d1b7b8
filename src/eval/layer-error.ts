/**
 * How the error grows from layer to layer: after each layer, the residual stream of a plan is compared with the float model's.
 *
 *   relative error = ‖h_plan − h‖ / ‖h‖         SNR = −20 log₁₀ (relative error)    in dB, over all tokens and channels
 */
import { type Node, type Program, type Ref, writes } from '../graph.ts';
import { groupBy } from '../group-by.ts';
import { transform } from '../quant/lower.ts';
import type { Recipe } from '../quant/scheme.ts';
import { overWindows, type Reading, tokensIn } from './windows.ts';

export interface LayerError {
  readonly layer: number;
  readonly relative: number;
  /** In dB; null where there is no error at all. */
  readonly snr: number | null;
}
export interface LayerErrors {
  readonly tokens: number;
  readonly recipes: readonly { readonly recipe: string; readonly layers: readonly LayerError[] }[];
}

export interface NamedPlan {
  readonly name: string;
  readonly scheme: Recipe;
  /** Opens the plan for `use` and closes it again, so that only one is in memory at a time. */
  readonly plan: <T>(use: (plan: Program) => T) => Promise<T>;
}

const HIDDEN = /^layers\.\d+\.h$/;

/** The program with a site after each layer, where the residual stream is observed. Its results do not change. */
export function withHiddenSites({ graph, weights }: Program): Program {
  const nodes = graph.nodes.flatMap((node): readonly Node[] => [
    node,
    ...writes(node)
      .filter(ref => HIDDEN.test(ref))
      .map(ref => ({ kind: 'site', site: 'hidden', in: ref, out: `${ref}.hidden` }) as const),
  ]);
  return { graph: { ...graph, nodes }, weights };
}

/**
 * Measures each plan on windows, each read from an empty state.
 *
 * A plan is compared with the float model in the basis that the recipe gives the residual stream, if it gives it one.
 */
export async function measureLayers(
  float: Program,
  plans: readonly NamedPlan[],
  reading: Reading,
): Promise<LayerErrors> {
  const measured = new Map<string, readonly LayerError[]>();
  // what a recipe says of sites and weights does not rotate the residual stream; the rest of it may
  const bases = groupBy(plans, ({ scheme }) =>
    JSON.stringify({ ...scheme, weights: undefined, acts: undefined, at: undefined, weightsAt: undefined }),
  );
  for (const [rest, group] of bases) {
    const expected = hiddenOf(transform(float, JSON.parse(rest) as Recipe), reading);
    for (const { name, plan } of group) {
      const found = await plan(program => hiddenOf(program, reading));
      const errors = expected.map((h, layer) => errorOf(layer, found[layer], h));
      measured.set(name, errors);
    }
  }
  return {
    tokens: tokensIn(reading.windows),
    recipes: plans.map(({ name }) => ({ recipe: name, layers: measured.get(name)! })),
  };
}

/** The error of one layer's residual stream, which comes in pieces, against the float model's. */
export function errorOf(
  layer: number,
  found: readonly Float32Array[],
  expected: readonly Float32Array[],
): LayerError {
  let noise = 0;
  let signal = 0;
  for (const [w, h] of expected.entries())
    for (let i = 0; i < h.length; i++) {
      noise += (found[w][i] - h[i]) ** 2;
      signal += h[i] * h[i];
    }
  const relative = Math.sqrt(noise / (signal || 1));
  return { layer, relative, snr: relative > 0 ? -20 * Math.log10(relative) : null };
}

/** The residual streams by layer and window. */
function hiddenOf(program: Program, reading: Reading): readonly Float32Array[][] {
  const layers = new Map<Ref, Float32Array[]>();
  overWindows(withHiddenSites(program), reading, (sequence, window) => {
    sequence.feed(window, {
      logits: 'last',
      observe: (site, ref, { data }) => {
        if (site === 'hidden') layers.set(ref, [...(layers.get(ref) ?? []), data.slice()]);
      },
    });
  });
  return [...layers.values()];
}
