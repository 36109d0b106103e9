"""One content, as Markdown and as a web page that needs no other file."""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from tabulate import tabulate

from adl.console.text import MISSING


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the web page; the Markdown, which is kept in git, has none."""

    path: Path
    caption: str


Block = str | Picture


def table(rows: Sequence[Sequence[str]], headers: Iterable[str]) -> str:
    """In Markdown. A column that has nothing in any row is left out."""
    columns = zip(headers, *rows, strict=True)
    shown = [column for column in columns if set(column[1:]) - {"", MISSING}]
    names, *texts = zip(*shown, strict=True)
    return tabulate(texts, headers=names, tablefmt="pipe", disable_numparse=True)


def markdown(content: Sequence[Block]) -> str:
    return "\n\n".join(block for block in content if isinstance(block, str)) + "\n"


def web_page(content: Sequence[Block], title: str, pages: Mapping[str, str]) -> str:
    """One HTML file that needs nothing else: pictures are inside. pages: name → address of other pages."""
    render = MarkdownIt("commonmark", {"html": False}).enable("table").render
    body = "\n".join(_figure(b) if isinstance(b, Picture) else render(b) for b in content)
    # Wide tables scroll in themselves, not the page; headings can be linked to.
    body = body.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    links = dict(pages)
    for heading in re.findall(r"<h2>(.*?)</h2>", body):
        anchor = re.sub(r"\W+", "-", heading.lower())
        body = body.replace(f"<h2>{heading}</h2>", f'<h2 id="{anchor}">{heading}</h2>')
        links[heading] = f"#{anchor}"
    listed = "\n".join(f'<a href="{address}">{name}</a>' for name, address in links.items())
    return _PAGE.replace("TITLE", title).replace("LINKS", listed).replace("BODY", body)


def _figure(picture: Picture) -> str:
    caption = html.escape(picture.caption)
    if not picture.path.exists():
        return f"<p><em>{caption}: not drawn yet.</em></p>"
    content = base64.b64encode(picture.path.read_bytes()).decode()
    image = f'<img alt="{caption}" src="data:image/png;base64,{content}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<link rel="icon" href="data:,">
<style>
:root {
  color-scheme: light dark;
  --text: #1c1e21; --quiet: #55595e; --page: #fff; --raised: #f4f6f8; --line: #d5d8dc; --accent: #0b5cad;
}
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e8ea; --quiet: #a6acb3; --page: #16181b; --raised: #22262a; --line: #3b4147; --accent: #7db8f5; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .9rem; }
@media (max-width: 40rem) { nav { flex-wrap: nowrap; overflow-x: auto; white-space: nowrap; padding-bottom: .25rem; } }
h1 { line-height: 1.25; margin: 1rem 0 .5rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; overflow-wrap: normal; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th, code { background: var(--raised); }
code { padding: 0 .2rem; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; border-radius: 6px; }
figcaption { color: var(--quiet); font-size: .9rem; }
a { color: var(--accent); }
</style>
</head>
<body>
<nav>
LINKS
</nav>
BODY
</body>
</html>
"""
