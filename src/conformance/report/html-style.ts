/** How the page of a report looks. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --back: #fff; --front: #1c2128; --soft: #59636e; --line: #d1d9e0; --panel: #f6f8fa;
  --pass: #1a7f37; --pass-back: #e6f5ea; --fail: #c1121f; --fail-back: #fde8e8;
  --error: #9a4600; --error-back: #fdeed9; --quiet: #59636e; --quiet-back: #f0f2f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #0f1318; --front: #e2e8ee; --soft: #98a3af; --line: #2d353e; --panel: #171c23;
    --pass: #58c878; --pass-back: #12291b; --fail: #ff8080; --fail-back: #3a1519;
    --error: #f0a858; --error-back: #372310; --quiet: #98a3af; --quiet-back: #1c222a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--front); font: 16px/1.5 system-ui, sans-serif; }
header, main { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
main { padding-bottom: 3rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .75rem; }
h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; font-weight: 600; }
small { color: var(--soft); font-weight: 400; font-size: .85em; }
.verdict { font-size: 1.1rem; font-weight: 600; margin: 0; padding: .6rem .9rem; border-left: .3rem solid; border-radius: .2rem; }
.about, .legend { color: var(--soft); margin: .75rem 0 0; font-size: .9rem; }
.counters { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; margin: 1.25rem 0 0; padding: 0; }
.counters li { padding: .35rem .75rem; border-radius: .3rem; font-size: .9rem; }
.counters b { font-size: 1.15rem; margin-right: .15rem; font-variant-numeric: tabular-nums; }
.pass { color: var(--pass); background: var(--pass-back); }
.fail { color: var(--fail); background: var(--fail-back); }
.error { color: var(--error); background: var(--error-back); }
.unsupported, .skipped { color: var(--quiet); background: var(--quiet-back); }
.none { color: var(--soft); box-shadow: inset 0 0 0 1px var(--line); }
.wide { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 2px; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; padding: .2rem .6rem .2rem 0; white-space: nowrap; }
thead th { color: var(--soft); font-size: .85rem; padding-left: .6rem; }
thead th:first-child { padding-left: 0; }
td { padding: .2rem .6rem; border-radius: .2rem; white-space: nowrap; }
.matrix th[scope=row] { font-family: ui-monospace, monospace; font-size: .85rem; position: sticky; left: 0; background: var(--back); }
.by { float: right; margin-left: .6rem; }
.worst { color: var(--soft); text-align: right; }
.legend span { padding: 0 .35rem; border-radius: .2rem; }
article { border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem; margin: 0 0 .75rem; break-inside: avoid; }
article h3 { font-family: ui-monospace, monospace; }
article h3 span { font-family: system-ui, sans-serif; padding: .05rem .45rem; border-radius: .2rem; margin-right: .3rem; }
article p { margin: .5rem 0; }
article .replay { margin-bottom: 0; }
pre, code { font-family: ui-monospace, monospace; font-size: .85rem; }
pre { background: var(--panel); padding: .6rem .8rem; margin: .5rem 0; border-radius: .3rem; white-space: pre-wrap; overflow-wrap: anywhere; }
code { overflow-wrap: anywhere; }
.replay code { color: var(--soft); }
.plain { list-style: none; padding-left: 1rem; margin: .25rem 0 .75rem; }
summary { cursor: pointer; padding: .15rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: 0; font-size: .9rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media print {
  :root { --back: #fff; --front: #000; --soft: #444; --line: #999; --panel: #fff; --quiet: #444; --quiet-back: #fff;
    --pass: #1a7f37; --pass-back: #e6f5ea; --fail: #c1121f; --fail-back: #fde8e8; --error: #9a4600; --error-back: #fdeed9; }
  body { font-size: 10pt; }
  header, main { max-width: none; padding: 0; }
  .pass, .fail, .error, .unsupported, .skipped { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .wide { overflow: visible; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
}
`;
