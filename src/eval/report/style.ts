/** How plots and pages look: light, dark as the reader's system has it, and on paper. Colours after Okabe and Ito, told apart by most. */

const LIGHT = `--back:#fff;--front:#1c2128;--soft:#59636e;--line:#d5dbe1;--panel:#f6f8fa;
--c0:#0072b2;--c1:#d55e00;--c2:#00825e;--c3:#a8428f;--c4:#a87900;--c5:#2c8fc9;--c6:#6b7280;--c7:#8a2f4b;
--r0:#eef3f8;--r1:#c6dbea;--r2:#93bcd9;--r3:#5795c2;--r4:#2a6ca6;--r5:#13477f;--r6:#0a2750`;
const DARK = `--back:#0f1318;--front:#e2e8ee;--soft:#a0abb6;--line:#303943;--panel:#171c23;
--c0:#56b4e9;--c1:#ff8a4c;--c2:#35c99b;--c3:#e59bd0;--c4:#f0c04a;--c5:#9ad4ff;--c6:#a5adb7;--c7:#e07f9d;
--r0:#151c25;--r1:#1d3450;--r2:#245280;--r3:#2f78b3;--r4:#57a1d6;--r5:#95c8ec;--r6:#e0f1ff`;

export const VARIABLES = `:root{color-scheme:light dark;${LIGHT}}
@media (prefers-color-scheme:dark){:root{${DARK}}}
@media print{:root{color-scheme:light;${LIGHT}}}`;

export const PLOT = `.plot{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;display:block}
.plot text{fill:var(--front)}.plot .soft{fill:var(--soft)}.plot .small{font-size:11px}.plot .head{font-weight:600;font-size:14px}
.plot .sub{font-weight:600}.plot .back{fill:var(--back)}.plot .grid{stroke:var(--line);stroke-width:1}
.plot .axis{stroke:var(--soft);stroke-width:1}.plot .lead{stroke:var(--soft);stroke-width:.75}.plot .ref{stroke:var(--soft);stroke-width:1.25;stroke-dasharray:5 4}
.plot .halo{paint-order:stroke;stroke:var(--back);stroke-width:3px;stroke-linejoin:round}
${[0, 1, 2, 3, 4, 5, 6, 7].map(i => `.plot .f${i}{fill:var(--c${i})}.plot .s${i}{stroke:var(--c${i});fill:none}`).join('')}
${[0, 1, 2, 3, 4, 5, 6].map(i => `.plot .r${i}{fill:var(--r${i})}`).join('')}
.plot .curve{stroke-width:2;stroke-linejoin:round}.plot .band{opacity:.18}.plot .pale{opacity:.45}
@media print{.plot *{print-color-adjust:exact;-webkit-print-color-adjust:exact}}`;

export const PAGE = `*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--front);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:62rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.75rem 0 .5rem}
p{margin:.5rem 0;max-width:46rem}
.about{color:var(--soft);font-size:.92rem}
figure{margin:1.25rem 0;overflow-x:auto}
figure svg{width:100%;min-width:620px;height:auto}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-weight:500;font-size:.85rem;vertical-align:bottom;white-space:normal;max-width:7.5rem}
tbody th{font-weight:600}
td small{color:var(--soft)}
ul{padding-left:1.2rem;max-width:46rem}
details{margin:.75rem 0}
summary{cursor:pointer;color:var(--soft)}
pre{background:var(--panel);padding:.75rem;overflow:auto;max-height:24rem;font:.8rem/1.4 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
@media print{body{font-size:10pt}main{max-width:none;padding:0}h2{break-after:avoid}figure,tr{break-inside:avoid}details{display:none}.wide{overflow:visible}table,thead th{font-size:7.5pt}figure{overflow:visible}figure svg{min-width:0}th,td{padding:.2rem .4rem}}`;
