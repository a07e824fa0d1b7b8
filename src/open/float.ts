/** A float checkpoint of a folder: Hugging Face's, or state-spaces'. */
import type { Folder } from '../formats/bytes.ts';
import { readJson } from '../formats/json.ts';
import { openWeights } from '../formats/weights.ts';
import type { Program, Weights } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { checkWeights } from '../model/check-weights.ts';
import { parseConfig } from '../model/index.ts';
import { once } from '../once.ts';
import { identity } from '../plan/identity.ts';

/** A float checkpoint, its weights unread. */
export interface FloatModel {
  readonly config: Config;
  readonly program: Program;
  /** The weights as the files have them: what the program reads may be made of them. */
  readonly checkpoint: Weights;
  /** Names of tensors that the model does not use. */
  readonly unused: readonly string[];
  identity(): string;
  /** Closes the files; weights that were not read yet cannot be any more. */
  close(): void;
}

/** @throws Error naming the file and the field that is wrong. */
export const readConfig = (folder: Folder): Config =>
  parseConfig(readJson(folder, 'config.json'), `${folder.name}/config.json`);

/**
 * @param readOwn gives what config.json says, to whom has read it already.
 * @throws Error naming the file and the field or tensor that is wrong.
 */
export function openFloatModel(folder: Folder, readOwn: () => Config = () => readConfig(folder)): FloatModel {
  const source = openWeights(folder);
  try {
    const { config, outline, weights, unused } = checkWeights(readOwn(), source);
    return {
      config,
      program: { graph: outline.graph, weights },
      checkpoint: source,
      unused,
      identity: once(() => identity(source, outline.stored.keys(), withOneEnd(config))),
      close: () => source.close(),
    };
  } catch (error) {
    source.close();
    throw error;
  }
}

/** The first of several ends of a text has always stood for all in the identities that are on disks. */
const withOneEnd = (config: Config): Config => {
  const [first] = [config.eosTokenId].flat(); // in its place: the order of the fields counts
  return first === undefined ? config : { ...config, eosTokenId: first };
};
