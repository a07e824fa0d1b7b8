/**
 * quamba: quantized inference of Mamba, with the same bits everywhere.
 *
 *   load(path?, { recipe, threads })       a model: generate, session, plan                        open/node.ts, open/model.ts
 *   ops.fwht({ x }, { inverse: true })     every op alone, on tensors or plain typed arrays        ops/
 *   recipes                                the table of quantization recipes                       quant/recipes.ts
 *   trace → calibrate → transform → quantize → fuse → prepare                                      graph.ts, quant/, backends/
 *
 * A tensor is { dtype, shape, data }. Errors are one sentence that names what was wrong, where, and what was expected.
 */
export { openFolder } from './formats/disk.ts';
export * from './library.ts';
export { CALIBRATION_TEXT, EMBEDDED_MODEL, load, textFile } from './open/node.ts';
