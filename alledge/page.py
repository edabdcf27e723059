"""The frame of every HTML report: one file, no script, no outside resource, the warning on top of each page."""

from html import escape

from alledge.verdict import RESEARCH_USE_ONLY

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1.5rem; color: #1c2430; }
h1 { font-size: 1.6rem; margin: .8rem 0 .4rem; } h3 { font-size: .95rem; margin: 1.2rem 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; padding-top: .5rem; border-top: 2px solid #1c2430; }
p, dl, ul { max-width: 46rem; margin: .4rem 0 .7rem; } dt { font-weight: 600; } dd { margin: 0 0 .45rem; }
.warning { background: #7a1420; color: #fff; padding: .45rem .9rem; font-weight: 600; letter-spacing: .04em; }
.lead { font-size: 1.2rem; line-height: 1.45; } .note { font-size: .85rem; color: #4a5666; }
.row, .plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 0 2.5rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 1rem 1.5rem;
  margin: 1.2rem 0; }
.facts div { border-top: 2px solid #1f5fa8; padding-top: .4rem; } .facts span { display: block; font-size: .8rem;
  color: #4a5666; } .facts b { font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .25rem 1.1rem .25rem 0; vertical-align: top; }
th { font-weight: 600; } tr { border-bottom: 1px solid #dde3ea; } td { font-variant-numeric: tabular-nums; }
td.number { text-align: right; } .columns td { overflow-wrap: anywhere; } code { font-size: .9em; }
figure { margin: 0; width: 11rem; } figure img { width: 100%; } figcaption { font-size: .8rem; color: #4a5666; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem; }
.gallery figure { width: auto; } small { overflow-wrap: anywhere; }
img { max-width: 100%; } .bad { color: #a3121f; } .good { color: #17693a; }
@page { margin: 14mm; }
@media print { body { max-width: none; padding: 0; font-size: 9.5pt; } h2, h3 { break-after: avoid; }
  .warning { border: 2px solid #7a1420; color: #7a1420; background: none; } th, td { padding-right: .6rem; }
  .plots { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem 1rem; } .lead { font-size: 1.05rem; }
  .facts { grid-template-columns: repeat(6, 1fr); gap: .6rem; } .facts b { font-size: 1.15rem; }
  .gallery { grid-template-columns: repeat(6, 1fr); gap: .6rem; }
  table, figure, .plot, .facts, dd { break-inside: avoid; } dt { break-after: avoid; } }
"""


def html_page(title: str, body: str) -> str:
    """A complete HTML document; `body` is HTML, `title` is text."""
    return (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{escape(title)}</title><style>{_STYLE}</style>"
            f"<div class=warning>{RESEARCH_USE_ONLY} &mdash; not a medical device</div>"
            f"<h1>{escape(title)}</h1>{body}</html>")
