/**
 * What the library has in Node and in a page alike: no file of it, nor of what it imports, knows Node. index.ts and web/index.ts add
 * `load`, each its own.
 */
export { type Backend, prepare } from './backends/backend.ts';
export { backends } from './backends/index.ts';
export { type Evaluation, evaluate } from './eval/evaluate.ts';
export { readItems } from './eval/task-files.ts';
export type { Executable, FeedOptions, Sequence, State, Turn } from './executable.ts';
export { type ByteSource, type Folder, folderOf, fromBytes } from './formats/bytes.ts';
export { readSafetensors, writeSafetensors } from './formats/safetensors.ts';
export { createTokenizer, type Tokenizer } from './formats/tokenizer.ts';
export {
  type Builder,
  type Graph,
  type Input,
  type Node,
  type Program,
  type Ref,
  trace,
  type Weights,
  weightsOf,
} from './graph.ts';
export type { Architecture, Config } from './model/architecture.ts';
export { architectures, graphOf, parseConfig, type Site, sites } from './model/index.ts';
export { type BlockConfig, block } from './model/mamba.ts';
export type { Op } from './op.ts';
export type { Answer, ChatMessage, ChatOptions } from './open/chat.ts';
export type { Completed, CompleteOptions } from './open/completions.ts';
export { openFloatModel } from './open/float.ts';
export { type Model, type ModelOptions, openModel } from './open/model.ts';
export { ops } from './ops/index.ts';
export * as numerics from './ops/numerics.ts';
export { fuse, unfuse } from './plan/fuse.ts';
export { render } from './plan/render.ts';
export { inferTypes } from './plan/types.ts';
export { calibrate } from './quant/calibrate.ts';
export { loadPlan, type PlanInfo, savePlan } from './quant/checkpoint.ts';
export { quantize, type Traced, type Transformed, transform } from './quant/lower.ts';
export { planOf, samplesOf } from './quant/pipeline.ts';
export { type RecipeName, recipe, recipes } from './quant/recipes.ts';
export { parseRecipe, type Recipe } from './quant/scheme.ts';
export type { Stats } from './quant/stats.ts';
export { interpret, run } from './run.ts';
export { type Places, type PlaceTurn, sequences } from './sequences.ts';
export type { Session } from './session.ts';
export { type DType, type Tensor, tensor, zeros } from './tensor.ts';
export { type GenerateOptions, generate } from './text/generate.ts';
export type { GenerateManyOptions, PieceOf } from './text/generate-many.ts';
export { type SamplingOptions, sampler } from './text/sampling.ts';
