/** Draws what curves.mjs measured: decode rate, and quamba's memory, against position. */
import { xAxis, yAxis } from '../../dist/eval/report/axes.js';
import { linear } from '../../dist/eval/report/scale.js';
import { PLOT, VARIABLES } from '../../dist/eval/report/style.js';
import { curve, standalone, text, WIDTH } from '../../dist/eval/report/svg.js';
import { number } from '../../dist/eval/report/words.js';

const [TOP, BOTTOM, LEGEND] = [104, 340, 58];
const BOXES = [
  { left: 44, right: WIDTH / 2 - 20, top: TOP, bottom: BOTTOM },
  { left: WIDTH / 2 + 50, right: WIDTH - 26, top: TOP, bottom: BOTTOM },
];

/** An SVG file. A colour for each shape; llama.cpp is dashed. */
export function picture({ rows, machine, node }) {
  const shapes = [...new Set(rows.map(({ shape }) => shape))];
  const lines = rows.map(({ shape, threads, peer, decode }) => ({
    name: `${shape}, ${peer === 'llama-q8' ? 'llama.cpp Q8_0' : 'quamba'}, ${threads} thread${threads > 1 ? 's' : ''}`,
    look: { colour: shapes.indexOf(shape), kind: threads - 1, dash: peer === 'llama-q8' ? '5 4' : undefined },
    rate: decode.map(({ at, median }) => [at, median]),
    memory: peer === 'llama-q8' ? [] : decode.map(({ at, bytes }) => [at, bytes / 1e6]),
  }));
  const legend = lines.map(({ name, look }, i) => {
    const [x, y] = [44 + (i % 2) * (WIDTH / 2), LEGEND + 16 * Math.floor(i / 2)];
    /** @type {import("../../dist/eval/report/svg.js").Point[]} */
    const points = [
      [x, y - 4],
      [x + 12, y - 4],
      [x + 24, y - 4],
    ];
    return curve(points, { ...look, size: 2 }, () => name) + text(x + 32, y, name, { class: 'soft small' });
  });
  const down = 16 * Math.max(0, Math.ceil(lines.length / 2) - 2);
  const boxes = BOXES.map(box => ({ ...box, top: box.top + down, bottom: box.bottom + down }));
  const [rate, memory] = boxes;
  const said = lines.map(({ name, rate: points }) => {
    const [[, first], [at, last]] = [points[0], points.at(-1)];
    return `${name}: ${number(first)} tokens/s, at position ${at} ${number(last)}`;
  });
  return standalone(
    {
      id: 'curves',
      title: 'What position costs',
      subtitle: `Decoding one text with random weights; ${machine}, Node ${node}.`,
      description: `${said.join('; ')}.`,
      height: BOTTOM + down + 48,
      body: [
        ...legend,
        panel(
          rate,
          'tokens per second',
          lines.map(each => ({ ...each, points: each.rate })),
        ),
        panel(
          memory,
          'memory of quamba, MB',
          lines.map(each => ({ ...each, points: each.memory })),
        ),
      ],
    },
    VARIABLES + PLOT,
  );
}

function panel(box, title, lines) {
  const all = lines.flatMap(({ points }) => points);
  const x = linear(
    all.map(([at]) => at),
    [box.left, box.right],
    { zero: true, count: 4 },
  );
  const y = linear(
    all.map(([, value]) => value),
    [box.bottom, box.top],
    { zero: true },
  );
  const drawn = lines
    .filter(({ points }) => points.length > 0)
    .map(({ points, name, look }) =>
      curve(
        points.map(([at, value]) => [x(at), y(value)]),
        look,
        i => `${name}, position ${points[i][0]}: ${number(points[i][1])}`,
      ),
    );
  return [
    xAxis(box, x, 'position, tokens', value => number(value)),
    yAxis(box, y, title, value => number(value)),
    ...drawn,
  ].join('');
}
