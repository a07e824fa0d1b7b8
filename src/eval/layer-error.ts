/**
 * How the error grows from layer to layer: the residual stream after each, of a plan against the float model.
 *
 *   relative error = ‖h_plan − h‖ / ‖h‖         SNR = −20 log₁₀ (relative error)    in dB, over all tokens and channels
 */
import { type Node, type Program, type Ref, writes } from '../graph.ts';
import { groupBy } from '../group-by.ts';
import { transform } from '../quant/lower.ts';
import type { Recipe } from '../quant/scheme.ts';
import type { Prepare } from './calibrations.ts';

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
  /** Opens the plan when its turn comes, and closes it, so that one is in memory at a time. */
  readonly plan: <T>(use: (plan: Program) => T) => Promise<T>;
}

const HIDDEN = /^layers\.\d+\.h$/;

/** A program that shows the residual stream after each layer: a site where it is written. What it computes stays the same. */
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
  windows: readonly Int32Array[],
  { prepare, onWindow }: { readonly prepare: Prepare; readonly onWindow?: () => void },
): Promise<LayerErrors> {
  const measured = new Map<string, readonly LayerError[]>();
  // what a recipe does to sites and weights does not turn the residual stream; whatever else it says may
  const bases = groupBy(plans, ({ scheme }) =>
    JSON.stringify({ ...scheme, weights: undefined, acts: undefined, at: undefined, weightsAt: undefined }),
  );
  for (const [rest, group] of bases) {
    const expected = hiddenOf(transform(float, JSON.parse(rest) as Recipe), windows, prepare, onWindow);
    for (const { name, plan } of group) {
      const found = await plan(program => hiddenOf(program, windows, prepare, onWindow));
      measured.set(
        name,
        expected.map((h, layer) => errorOf(layer, found[layer], h)),
      );
    }
  }
  return {
    tokens: windows.reduce((sum, { length }) => sum + length, 0),
    recipes: plans.map(({ name }) => ({ recipe: name, layers: measured.get(name)! })),
  };
}

/** Pieces of one layer's stream against pieces of the float one's. */
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

/** By layer and window. */
function hiddenOf(
  program: Program,
  windows: readonly Int32Array[],
  prepare: Prepare,
  onWindow?: () => void,
): readonly Float32Array[][] {
  const shown = withHiddenSites(program);
  const layers = new Map<Ref, Float32Array[]>(
    shown.graph.nodes.flatMap(node =>
      node.kind === 'site' && node.site === 'hidden' ? [[node.out, []]] : [],
    ),
  );
  const executable = prepare(shown);
  try {
    const sequence = executable.open();
    for (const window of windows) {
      sequence.load();
      sequence.feed(window, {
        logits: 'last',
        observe: (site, ref, { data }) => {
          if (site === 'hidden') layers.get(ref)!.push(data.slice());
        },
      });
      onWindow?.();
    }
  } finally {
    executable.dispose?.();
  }
  return [...layers.values()];
}
