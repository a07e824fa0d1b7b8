/** What a page asks of the lab: the float model and its quantization, looked at from inside. */
import type { LayerError } from 'lib/eval/layer-error.ts';
import type { Shape } from 'lib/eval/moments.ts';
import type { FetchProgress, Site } from 'quamba';
import type { Histogram, Rounding } from '../measures.ts';

/** More tokens are cut off: what is seen at every site of every layer is kept. */
export const MOST_TOKENS = 64;

export interface Lab {
  /** Fetches the float weights, the tokenizer and nothing else. */
  open(url: string, onProgress: (progress: FetchProgress) => void): Promise<{ readonly layers: number }>;
  /** Takes the text that everything below is about. */
  read(text: string): Text;
  site(recipe: string, layer: number, site: Site): Promise<SiteView>;
  clipping(layer: number): Promise<ClippingView>;
  rotation(layer: number): RotationView;
  /** The error of the residual stream after each layer. */
  layers(recipe: string): Promise<readonly LayerError[]>;
  states(layer: number): StatesView;
}

export interface Text {
  /** Each token as text. */
  readonly pieces: readonly string[];
  /** Whether tokens were cut off. */
  readonly cut: boolean;
}

export interface SiteView {
  readonly tokens: number;
  readonly channels: number;
  readonly shape: Shape;
  /** The basis that the recipe quantizes in: `rotated`, `smoothed`, `steps`; undefined for the site's own. */
  readonly basis: string | undefined;
  /** All values, in that basis; and those within a few steps of 0. */
  readonly all: Histogram;
  readonly near: Histogram | undefined;
  /** Undefined where the recipe leaves the site in float32. */
  readonly rounding: Rounding | undefined;
}

export interface ClippingView {
  readonly all: Histogram;
  readonly absmax: number;
  /** By recipe: the range that becomes 127 steps, and what comes of it. */
  readonly recipes: readonly {
    readonly recipe: string;
    readonly range: number;
    readonly rounding: Rounding;
  }[];
}

export interface RotationView {
  readonly tokens: number;
  readonly channels: number;
  readonly before: { readonly values: Float32Array; readonly shape: Shape };
  readonly after: { readonly values: Float32Array; readonly shape: Shape };
}

/** The states of a layer after each token, one after the other. */
export interface StatesView {
  /** f32[tokens, e, k − 1], e channels of the convolution */
  readonly conv: Float32Array;
  /** f32[tokens, d, n], also where the model has it by heads */
  readonly ssm: Float32Array;
  /** The largest |value| of each in the whole text. */
  readonly mostConv: number;
  readonly mostSsm: number;
  readonly convChannels: number;
  readonly channels: number;
  readonly width: number;
  readonly size: number;
}
