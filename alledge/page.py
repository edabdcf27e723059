"""The frame of every HTML report: one file, no script, no outside resource, the warning on top of each page."""

from html import escape

from alledge.verdict import RESEARCH_USE_ONLY

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1.5rem; color: #1c2430; }
h1 { font-size: 1.5rem; margin: .6rem 0; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
.warning { background: #7a1420; color: #fff; padding: .45rem .9rem; font-weight: 600; letter-spacing: .04em; }
.lead { font-size: 1.1rem; } .row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .9rem .2rem 0; vertical-align: top; }
tr { border-bottom: 1px solid #dde3ea; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 0; width: 11rem; } figure img { width: 100%; } figcaption { font-size: .8rem; color: #4a5666; }
img { max-width: 100%; } .bad { color: #a3121f; } .good { color: #17693a; }
@media print { body { max-width: none; padding: 0; } .warning { border: 2px solid #7a1420; color: #7a1420; } }
"""


def html_page(title: str, body: str) -> str:
    """A complete HTML document; `body` is HTML, `title` is text."""
    return (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{escape(title)}</title><style>{_STYLE}</style>"
            f"<div class=warning>{RESEARCH_USE_ONLY} &mdash; not a medical device</div>"
            f"<h1>{escape(title)}</h1>{body}</html>")
