/** A checkpoint against the model that is to read it. */
import { show } from '../formats/json.ts';
import type { WeightSource } from '../formats/weights.ts';
import type { Weights } from '../graph.ts';
import type { Config } from './architecture.ts';
import { architectureOf, type Outline, outlineOf } from './index.ts';

const FLOATS: readonly string[] = ['F32', 'F16', 'BF16', 'F64'];
/** Checkpoints of models whose head is the embedding hold it a second time under this name, or do not. */
const TIED_HEAD = 'lm_head.weight';

/**
 * Checks that a checkpoint has every tensor that the model reads, in the shape in which the model reads it.
 *
 * @returns the config with what only the checkpoint says, the model, the weights as its graph reads them, and the names of the
 * tensors that are not read.
 * @throws Error when a tensor is missing, TypeError when it is not a float, RangeError when its shape is another.
 */
export function checkWeights(
  given: Config,
  source: WeightSource,
): {
  readonly config: Config;
  readonly outline: Outline;
  readonly weights: Weights;
  readonly unused: readonly string[];
} {
  const config = architectureOf(given).complete?.(given, source) ?? given;
  const outline = outlineOf(config);
  const { stored: known, read } = outline;
  for (const [name, { shape }] of known) {
    const where = `${source.name}: tensor ${name}`;
    const stored = source.tensors.get(name);
    if (!stored) throw new Error(`${where} is missing; ${nearest(name, [...source.tensors.keys()])}`);
    if (!FLOATS.includes(stored.dtype))
      throw new TypeError(`${where} expected ${FLOATS.join(', ')}; got ${stored.dtype}`);
    if (String(stored.shape) !== String(shape))
      throw new RangeError(`${where} expected shape ${show(shape)} by the config; got ${show(stored.shape)}`);
  }
  const unused = [...source.tensors.keys()].filter(name => !known.has(name) && name !== TIED_HEAD);
  return { config, outline, weights: read(source), unused };
}

/** What is there instead: the name that ends most like it, which shows what is put before the names. */
function nearest(name: string, there: readonly string[]): string {
  const shared = (other: string) => {
    let length = 0;
    while (length < other.length && other.at(-1 - length) === name.at(-1 - length)) length++;
    return length;
  };
  const [best] = [...there].sort((a, b) => shared(b) - shared(a));
  return best === undefined ? 'there is no tensor' : `the nearest of ${there.length} is ${show(best)}`;
}
