/** What is said of a run: the error of each engine, and the table. */

/** Relative L2 error over all compared rows, and at how many the likeliest token is the same. */
export function errors(truth, { positions, data, shifted = false }) {
  let difference = 0;
  let size = 0;
  let argmax = 0;
  for (const [row, position] of positions.entries()) {
    const right = truth[position];
    const found = data.subarray(row * right.length, (row + 1) * right.length);
    // log-probabilities are logits less a number, the same for the whole row
    const shift = shifted ? mean(found) - mean(right) : 0;
    for (let i = 0; i < right.length; i++) {
      difference += (found[i] - shift - right[i]) ** 2;
      size += right[i] ** 2;
    }
    if (largest(found) === largest(right)) argmax++;
  }
  return { error: Math.sqrt(difference / size), argmax, compared: positions.length };
}
const mean = values => values.reduce((sum, x) => sum + x, 0) / values.length;
const largest = values => values.reduce((best, x, i) => (x > values[best] ? i : best), 0);

/** The run as Markdown. */
export function table({
  machine,
  node,
  date,
  threads,
  prompt,
  continuation,
  rounds,
  warmUps,
  model,
  peers,
  skipped,
}) {
  const head = [
    'engine',
    'weights',
    'prefill tokens/s',
    'its logits',
    'decode tokens/s',
    'relative L2',
    'argmax equal',
  ];
  const line = cells => `| ${cells.join(' | ')} |`;
  return [
    `# ${prompt} + ${continuation} tokens, ${threads} thread${threads > 1 ? 's' : ''}`,
    '',
    `${machine}; Node ${node}; ${date}. Model: ${model}.`,
    `Medians (least – most) of ${rounds} interleaved rounds after ${warmUps} warm-ups. Error: logits against a float64 forward pass of the same weights.`,
    '',
    line(head),
    line(head.map((_, i) => (i < 2 ? '---' : '---:'))),
    ...peers.map(peer =>
      line([
        `${peer.package} ${peer.version}${peer.about ? ` (${peer.about})` : ''}`,
        peer.weights,
        spread(peer.prefillTokensPerSecond),
        peer.prefillLogits,
        spread(peer.decodeTokensPerSecond),
        peer.relativeL2.toExponential(1),
        `${peer.argmaxEqual}/${peer.comparedPositions}`,
      ]),
    ),
    ...skipped.map(({ peer, reason }) => `\nSkipped: ${peer}, which ${reason}.`),
  ].join('\n');
}

const spread = ({ median, least, most }) =>
  `**${median.toFixed(1)}** (${least.toFixed(0)} – ${most.toFixed(0)})`;
