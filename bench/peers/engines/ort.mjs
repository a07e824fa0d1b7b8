/** ONNX Runtime, the npm packages onnxruntime-node (native) and onnxruntime-web (WebAssembly, here in Node). */

/**
 * @param library `onnxruntime-node` or `onnxruntime-web`
 * @param all whether prefill gives the logits of every position, and not of the last alone
 */
export async function open({ library, file, model, threads, all = false }) {
  const ort = await import(library);
  if (library === 'onnxruntime-web') ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  const session = await ort.InferenceSession.create(file, {
    executionProviders: [library === 'onnxruntime-web' ? 'wasm' : 'cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  });
  const { layers, dInner: d, dState: n, dConv: k } = model.config;
  const zeros = (...shape) =>
    new ort.Tensor('float32', new Float32Array(shape.reduce((a, b) => a * b)), shape);
  const integers = (list, shape) => new ort.Tensor('int64', BigInt64Array.from(list, BigInt), shape);
  const start = () =>
    Object.fromEntries(
      Array.from({ length: layers }, (_, i) => [
        [`past_conv.${i}`, zeros(1, d, k - 1)],
        [`past_ssm.${i}`, zeros(1, d, n, 1)],
      ]).flat(),
    );
  let state = start();
  /** Logits of the positions `rows`, by default the last. */
  const feed = async (ids, rows = [ids.length - 1]) => {
    const { logits, ...present } = await session.run({
      input_ids: integers(ids, [1, ids.length]),
      rows: integers(rows, [rows.length]),
      ...state,
    });
    state = Object.fromEntries(
      Object.entries(present).map(([name, value]) => [name.replace('present', 'past'), value]),
    );
    return logits.data;
  };
  return {
    reset: () => {
      state = start();
    },
    prefill: ids => feed(ids, all ? Array.from(ids.keys()) : undefined),
    async decode(ids) {
      for (const id of ids) await feed([id]);
    },
    async logits(ids) {
      const positions = Array.from(ids.keys());
      return { positions, data: await feed(ids, positions) };
    },
    close: () => session.release(),
  };
}
