"""One content, as Markdown and as a web page that needs no other file."""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from collections.abc import Sequence
from pathlib import Path

from markdown_it import MarkdownIt


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the web page; the Markdown, which is kept in git, has none."""

    path: Path
    caption: str


Block = str | Picture


def markdown(content: Sequence[Block]) -> str:
    return "\n\n".join(block for block in content if isinstance(block, str)) + "\n"


def web_page(content: Sequence[Block]) -> str:
    """One HTML file that needs nothing else: pictures are inside."""
    render = MarkdownIt("commonmark", {"html": False}).enable("table").render
    body = "\n".join(_figure(b) if isinstance(b, Picture) else render(b) for b in content)
    # Wide tables scroll in themselves, not the page; headings can be linked to.
    body = body.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    titles = re.findall(r"<h2>(.*?)</h2>", body)
    for title in titles:
        body = body.replace(f"<h2>{title}</h2>", f'<h2 id="{_anchor(title)}">{title}</h2>')
    links = "\n".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in titles)
    return _PAGE.replace("LINKS", links).replace("BODY", body)


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


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
<title>mIOU</title>
<link rel="icon" href="data:,">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fff; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin-bottom: 1rem; font-size: .9rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5d8dc; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #e3e6e9; text-align: left; vertical-align: top; }
th { background: #f4f6f8; }
code { background: #f4f6f8; padding: 0 .2rem; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
figcaption { color: #55595e; font-size: .9rem; }
a { color: #0b5cad; }
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
