/** What a model carries from token to token and how many decays it computes, from its graph. */
import type { Config } from 'lib/model/architecture.ts';
import { graphOf } from 'lib/model/index.ts';

export interface StateSizes {
  readonly layers: number;
  /** Of a layer's SSM, and the numbers that the state has for each. */
  readonly channels: number;
  readonly stateSize: number;
  /** Different decays, each an exp, of a token in a layer. */
  readonly decays: number;
  /** Of a layer, in float32. */
  readonly ssmBytes: number;
  readonly convBytes: number;
}

export function stateSizes(config: Config): StateSizes {
  const { states, weights } = graphOf(config);
  const product = (shape: Iterable<unknown>) => [...shape].reduce<number>((size, n) => size * Number(n), 1);
  const ssm = states.get('layers.0.ssmState')!.shape; // [channel, n] or [head, n, channel of the head]
  const size = product(ssm);
  const stateSize = Number(ssm[1]);
  return {
    layers: config.layers,
    channels: size / stateSize,
    stateSize,
    decays: product(weights.get('backbone.layers.0.mixer.A_log')!.shape),
    ssmBytes: 4 * size,
    convBytes: 4 * product(states.get('layers.0.convState')!.shape),
  };
}
