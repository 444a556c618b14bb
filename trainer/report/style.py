"""The look of the page. Colours are told apart by people who see no red or green, and in print."""

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#6a4c93", "#4d4d4d")
"""Source: Okabe and Ito 2008, the yellow darkened for thin lines."""
FOUND, MISSED, INVENTED = "#009e73", "#d6006c", "#e69f00"
"""A defect pixel that both say, that only the truth says, and that only the model says."""

CSS = """
:root { --ink: #1d2430; --dim: #5c6675; --line: #d9dee5; --soft: #f4f6f8; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 24px 28px 64px; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 2px; }
h2 { font-size: 19px; margin: 40px 0 6px; padding-top: 10px; border-top: 2px solid var(--ink); }
h3 { font-size: 15px; margin: 20px 0 4px; }
p { margin: 4px 0 10px; max-width: 78ch; }
.dim, figcaption, .note { color: var(--dim); }
.note { font-size: 13.5px; }
.warn { border-left: 4px solid #e69f00; background: #fff7e6; padding: 8px 12px; margin: 10px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
  gap: 12px; margin: 16px 0; }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; background: var(--soft); }
.tile b { display: block; font-size: 26px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { display: block; font-size: 13px; color: var(--dim); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0 12px; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 4px 12px 4px 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; color: var(--dim); font-size: 13px; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
tr.mark td { background: #e8f2fa; font-weight: 600; }
tr.first td { border-top: 2px solid var(--ink); }
tr.total td { border-top: 2px solid var(--ink); font-weight: 600; }
td.strip { padding: 0 12px 0 0; } td.strip svg { display: block; }
table.matrix td { padding: 5px 10px; text-align: right; border: 1px solid #fff; }
table.matrix td small { display: block; opacity: .75; font-size: 11.5px; }
table.matrix th { padding: 4px 10px; text-align: right; vertical-align: middle; }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
table.facts td:first-child { color: var(--dim); white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 18px; }
.charts.one { grid-template-columns: minmax(0, 640px); }
figure { margin: 0; } figure svg { width: 100%; height: auto; display: block; }
.frame { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; margin: 14px 0 18px; }
.frame img { width: 100%; display: block; border: 1px solid var(--line); }
.frame .small { image-rendering: pixelated; }
.frame figcaption { grid-column: 1 / -1; font-size: 14px; }
.key i { display: inline-block; width: 13px; height: 13px; margin: 0 4px 0 14px; vertical-align: -2px;
  border-radius: 2px; }
.key i:first-child { margin-left: 0; }
details summary { cursor: pointer; color: var(--accent); margin: 4px 0; }
@media print {
  body { max-width: none; padding: 0; font-size: 11pt; }
  figure, tr, .tile { break-inside: avoid; }
}
"""
