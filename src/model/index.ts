/** The architectures, and what follows from having more than one: the family of a config.json, and all words of recipes. */
import { isObject, show } from '../formats/json.ts';
import type { Graph, Weights } from '../graph.ts';
import type { TensorType } from '../tensor.ts';
import { type Architecture, type Config, outerRoles, outerSites } from './architecture.ts';
import { falconH1 } from './falcon-h1.ts';
import { falconMamba } from './falcon-mamba.ts';
import { folded, isStored } from './folds.ts';
import { graniteHybrid } from './granite-hybrid.ts';
import { jamba } from './jamba.ts';
import { mamba } from './mamba.ts';
import { mamba2 } from './mamba2.ts';

export const architectures = [
  mamba,
  falconMamba,
  mamba2,
  graniteHybrid,
  falconH1,
  jamba,
] as const satisfies readonly Architecture[];
type Known = (typeof architectures)[number];

const union = <W extends string>(words: (architecture: Known) => readonly W[]): readonly W[] => [
  ...new Set(architectures.flatMap(words)),
];
/** The activation points that any of the architectures has: of its blocks, on which `acts` acts, and all. */
export const blockSites = union(({ sites }) => sites);
const floatSites = union(architecture => ('floatSites' in architecture ? architecture.floatSites : []));
export const sites = [...blockSites, ...floatSites, ...outerSites];
export type Site = (typeof sites)[number];
/** Of a site, the one whose patch in a recipe is its own too, where the recipe has none of it. */
export const sitesLike: { readonly [S in Site]?: Site } = Object.assign(
  {},
  ...architectures.map(architecture => ('sitesLike' in architecture ? architecture.sitesLike : {})),
);
/** The weights that a recipe may quantize, by role. */
export const blockRoles = union(({ roles }) => roles);
export const roles = [...blockRoles, ...outerRoles];
export type Role = (typeof roles)[number];
/** The states of blocks. */
export const states = union(architecture => architecture.states);
export type StateWord = (typeof states)[number];

/**
 * config.json → the config of its architecture.
 *
 * @param file how errors call it.
 * @throws RangeError when it is of no known architecture; what the architecture's `parse` throws.
 */
export function parseConfig(json: unknown, file: string): Config {
  if (!isObject(json)) throw new RangeError(`${file}: expected a JSON object; got ${show(json)}`);
  const found = architectures.find(architecture => architecture.matches(json));
  if (found) return found.parse(json, file);
  const known = architectures.map(({ modelType }) => `"${modelType}"`).join(' or ');
  throw new RangeError(`${file}: model_type expected ${known}; got ${show(json.model_type ?? undefined)}`);
}

/** @throws RangeError listing the architectures, where the config's is not one of them. */
export function architectureOf({ architecture: name }: Pick<Config, 'architecture'>): Architecture {
  const found = architectures.find(architecture => architecture.name === name);
  if (found) return found;
  const known = architectures.map(architecture => architecture.name).join(' or ');
  throw new RangeError(`config: architecture expected ${known}; got ${show(name)}`);
}

/** A float model without its weights. */
export interface Outline {
  readonly graph: Graph;
  /** What a checkpoint of the model must hold: the constants of its graph, but for those that are made. */
  readonly stored: ReadonlyMap<string, TensorType>;
  /** The weights as the graph reads them, of those of a checkpoint. */
  read(checkpoint: Weights): Weights;
}

/** What follows from a config alone: its graph is traced once for all of it. */
export function outlineOf(config: Config): Outline {
  const architecture = architectureOf(config);
  const graph = architecture.graph(config);
  const folds = architecture.folds?.(config);
  if (!folds) return { graph, stored: graph.weights, read: checkpoint => checkpoint };
  return {
    graph,
    stored: new Map([...graph.weights].filter(([name]) => isStored(folds, name))),
    read: checkpoint => folded(graph, checkpoint, folds),
  };
}

/** The float model of a config. */
export const graphOf = (config: Config): Graph => architectureOf(config).graph(config);
