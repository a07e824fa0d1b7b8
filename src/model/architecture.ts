/**
 * A model family as a value: how its config.json is read, what it computes, and the words by which a recipe speaks of it.
 *
 * A new family is a file beside this one and a line in index.ts. The rest follows from the graph: what a checkpoint must
 * hold, random weights, the memory of a state.
 */
import type { JsonObject } from '../formats/json.ts';
import type { WeightSource } from '../formats/weights.ts';
import type { Graph } from '../graph.ts';
import type { Folds } from './folds.ts';

/** What is known of every model. A family adds its own sizes. */
export interface Config {
  /** The name of its architecture. */
  readonly architecture: string;
  readonly layers: number;
  /** Rows of the embedding, padding included. */
  readonly vocabSize: number;
  readonly eosTokenId?: number;
  /** Of a model that looks back over its text: as many tokens as it was made for. */
  readonly maxPositions?: number;
}

export interface Architecture<C extends Config = Config> {
  readonly name: string;
  /** What a config.json of Hugging Face calls it. */
  readonly modelType: string;
  /** Whether a config.json is of this family. */
  matches(json: JsonObject): boolean;
  /**
   * @param file how errors call it.
   * @throws RangeError when a field is missing or wrong, or asks for something that is not supported.
   */
  parse(json: JsonObject, file: string): C;
  /** The config with what only the checkpoint says, such as how far a vocabulary is padded. */
  complete?(config: C, source: WeightSource): C;
  /** The language model: tokens i32[l] → logits f32[l, v]. */
  graph(config: C): Graph;
  /** How the graph reads the constants that the checkpoint has in another form, or does not have. */
  folds?(config: C): Folds;
  /** The activation points inside a block, in the order in which they are computed, on which the `acts` of a recipe acts. */
  readonly sites: readonly string[];
  /** Of a site, the one whose patch in a recipe is its own too, where the recipe has none of it. */
  readonly sitesLike?: Readonly<Record<string, string>>;
  /** Those that stay as they are where a recipe does not name them. */
  readonly floatSites?: readonly string[];
  /** The states of a block: what a text in progress takes. */
  readonly states: readonly string[];
  /** The weights of a block that a recipe may quantize. */
  readonly roles: readonly string[];
}

/** The activation points outside of the blocks, which every model has: the input of the head. */
export const outerSites = ['headIn'] as const;
/** The weights outside of the blocks, which every model has. */
export const outerRoles = ['embedding', 'head'] as const;
