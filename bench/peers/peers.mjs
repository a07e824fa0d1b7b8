/** What is compared: an engine, its package, and in which form it gets the weights. */

/** `file` is what the engine loads; `all`: prefill gives the logits of all positions, not of the last one alone. */
export const PEERS = {
  quamba: quamba('quamba-int8-head'),
  'llama-q8': { engine: 'llama', package: 'node-llama-cpp', weights: 'Q8_0', file: 'q8_0.gguf' },
  'wllama-q8': { engine: 'wllama', package: '@wllama/wllama', weights: 'Q8_0', file: 'q8_0.gguf' },
  'ort-node-int8': ort('onnxruntime-node', 'dq8'),
  'ort-web-int8': ort('onnxruntime-web', 'dq8'),
  // on request only
  'quamba-web': { ...quamba('quamba-int8-head'), engine: 'quamba-web' },
  'ort-node-int8-all': { ...ort('onnxruntime-node', 'dq8'), all: true },
  'ort-web-int8-all': { ...ort('onnxruntime-web', 'dq8'), all: true },
  'quamba-all': { ...quamba('quamba-int8-head'), all: true },
  'quamba-ssd': quamba('quamba-ssd-int8-head'),
  'quamba-fp32': quamba('fp32'),
  'llama-f32': { engine: 'llama', package: 'node-llama-cpp', weights: 'F32', file: 'f32.gguf' },
  'llama-f16': { engine: 'llama', package: 'node-llama-cpp', weights: 'F16', file: 'f16.gguf' },
  'wllama-f16': { engine: 'wllama', package: '@wllama/wllama', weights: 'F16', file: 'f16.gguf' },
  'ort-node-f32': ort('onnxruntime-node', 'f32'),
  'ort-web-f32': ort('onnxruntime-web', 'f32'),
};

export const DEFAULT = Object.keys(PEERS).slice(0, 5);

function quamba(recipe) {
  return { engine: 'quamba', package: 'quamba', weights: recipe, recipe };
}

function ort(library, kind) {
  const weights = kind === 'dq8' ? 'int8, dynamic' : 'f32';
  return { engine: 'ort', package: library, library, weights, file: `${kind}.onnx` };
}
