/** What is said of a run: how exact each engine is, and the table. */
import { table as cellsOf } from '../../dist/eval/report/tables.js';
import { likeliest } from '../../dist/text/logits.js';

/** Relative L2 error over all compared rows, and at how many the likeliest token is the same. */
export function exactnessOf(truth, { positions, data, shifted = false }) {
  let difference = 0;
  let size = 0;
  let argmaxEqual = 0;
  for (const [row, position] of positions.entries()) {
    const right = truth[position];
    const found = data.subarray(row * right.length, (row + 1) * right.length);
    // log-probabilities are logits less a number, the same for the whole row
    const shift = shifted ? mean(found) - mean(right) : 0;
    for (let i = 0; i < right.length; i++) {
      difference += (found[i] - shift - right[i]) ** 2;
      size += right[i] ** 2;
    }
    if (likeliest(found) === likeliest(right)) argmaxEqual++;
  }
  return { relativeL2: Math.sqrt(difference / size), argmaxEqual, comparedPositions: positions.length };
}
const mean = values => values.reduce((sum, x) => sum + x, 0) / values.length;

/** The run as Markdown. */
export function table(run) {
  const { threads, peers, skipped } = run;
  const line = cells => `| ${cells.join(' | ')} |`;
  const [head, ...rows] = cellsOf(peers, COLUMNS);
  return [
    `# ${run.prompt} + ${run.continuation} tokens, ${threads} thread${threads > 1 ? 's' : ''}`,
    '',
    `${run.machine}; Node ${run.node}; ${run.date}. Model: ${run.model}.`,
    `Medians (least – most) of ${run.rounds} interleaved rounds after ${run.warmUps} warm-ups. Error: logits against a float64 forward pass of the same weights.`,
    '',
    line(head),
    line(head.map((_, i) => (i < 2 ? '---' : '---:'))),
    ...rows.map(line),
    ...skipped.map(({ peer, reason }) => `\nSkipped: ${peer}, which ${reason}.`),
  ].join('\n');
}

/** @type {[title: string, cell: (row: any) => string | undefined][]} */
const COLUMNS = [
  ['engine', peer => `${peer.package} ${peer.version}${peer.about ? ` (${peer.about})` : ''}`],
  ['weights', peer => peer.weights],
  ['prefill tokens/s', peer => spread(peer.prefillTokensPerSecond)],
  ['its logits', peer => peer.prefillLogits],
  ['decode tokens/s', peer => spread(peer.decodeTokensPerSecond)],
  ['relative L2', peer => peer.relativeL2.toExponential(1)],
  ['argmax equal', peer => `${peer.argmaxEqual}/${peer.comparedPositions}`],
];

const spread = ({ median, least, most }) =>
  `**${median.toFixed(1)}** (${least.toFixed(0)} – ${most.toFixed(0)})`;
