"""How the report looks: on a screen, light or dark, on a phone, and on paper. No remote file, no script."""

CSS = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5b6675; --line: #d9dee6; --paper: #fff; --card: #f5f7fa;
  --better: #15803d; --worse: #b91c1c; --warn: #92400e; --warned: #fef3c7; --link: #1d4ed8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa5b5; --line: #343c48; --paper: #12161c;
  --card: #1b212a; --better: #4ade80; --worse: #f87171; --warn: #fcd34d; --warned: #3a2c0a; --link: #93c5fd; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 50rem; }
.note, .source { color: var(--soft); font-size: .85rem; }
.warn { background: var(--warned); color: var(--warn); border-left: 4px solid var(--warn); padding: .6rem .8rem;
  font-weight: 600; border-radius: 0 .3rem .3rem 0; }
td.better { color: var(--better); font-weight: 600 } td.worse { color: var(--worse); font-weight: 600 }
td.warn { background: none; border-left: 0; padding-left: 0; }
.wrap { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .92rem; overflow-wrap: normal; }
th, td { text-align: left; padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); }
th.n, td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; padding-left: .6rem; }
tr > :first-child { position: sticky; left: 0; background: var(--paper); min-width: 11rem; }
td:not(.n) { min-width: 4.5rem }
th.n { white-space: normal } figure svg * { stroke-linejoin: round }
figure svg text { font-family: inherit !important }
tr.head > td { color: var(--soft); font-weight: 600; padding-top: .9rem; }
code { font: .86em ui-monospace, "SF Mono", Consolas, monospace; white-space: pre-wrap; }
figure { margin: 1rem 0 } figure .wrap { margin: 0 } figure svg { display: block; max-width: 100%; height: auto;
  min-width: 34rem; color: var(--ink); }
figcaption { color: var(--soft); font-size: .85rem; }
details { margin: .5rem 0; border: 1px solid var(--line); border-radius: .4rem; padding: .45rem .8rem; }
summary { cursor: pointer; font-weight: 600; }
.case { background: var(--card); border-radius: .5rem; padding: .8rem 1rem; margin: .8rem 0; break-inside: avoid; }
.case > p:first-child { margin-top: 0 } .text { white-space: pre-wrap; margin: .15rem 0 .6rem; max-width: none; }
.sides { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.sides > div { border-left: 3px solid var(--line); padding-left: .8rem; min-width: 0; }
.label { color: var(--soft); font-size: .82rem; margin: 0; } .thought { color: var(--soft); font-size: .92rem; }
nav { font-size: .9rem; margin: 1rem 0 } nav a { color: var(--link); margin-right: 1rem; white-space: nowrap;
  text-decoration: none; } nav a:hover { text-decoration: underline }
.pick { position: absolute; opacity: 0 } .bar { text-align: right; font-size: .9rem; margin-bottom: .6rem; }
.bar label { cursor: pointer; padding: .3rem .6rem; border: 1px solid var(--line); border-radius: .3rem; }
#to-en:checked ~ main [lang="zh"], #to-zh:checked ~ main [lang="en"] { display: none }
#to-en:checked ~ main label[for="to-en"], #to-zh:checked ~ main label[for="to-zh"] { border-color: var(--link);
  color: var(--link); font-weight: 600; }
#to-en:focus-visible ~ main label[for="to-en"], #to-zh:focus-visible ~ main label[for="to-zh"] {
  outline: 2px solid var(--link); outline-offset: 2px; }
@media (max-width: 40rem) { main { padding: 1rem .9rem 3rem } h1 { font-size: 1.35rem }
  tr > :first-child { min-width: 6.5rem; max-width: 9.5rem } th, td { padding-right: .7rem } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --card: #f4f4f4;
  --better: #14532d; --worse: #7f1d1d; --warn: #78350f; --warned: #fff; }
  body { font-size: 10pt } main { max-width: none; padding: 0 } .bar, nav { display: none }
  .wrap { overflow: visible } table { font-size: 8.5pt } th.n, td.n { white-space: normal }
  tr > :first-child { position: static } details { border: 0; padding: 0 }
  details::details-content { content-visibility: visible; height: auto }
  h2, h3 { break-after: avoid } tr, figure { break-inside: avoid } figure svg { min-width: 0 } }
"""
