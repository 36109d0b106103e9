"""One content, as Markdown and as a web page that needs no other file."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

import pandas as pd
from markdown_it import MarkdownIt

from adl.console.text import MISSING


class Picture(NamedTuple):
    """A picture of the web page; the Markdown, which is kept in git, has none."""

    path: Path
    caption: str


Block = str | Picture
NOT_MEASURED = "not measured yet"
"""What stands for a stage that has not run; `dvc repro` fills it."""
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
# Wide tables scroll in themselves, not the page.
MARKDOWN.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
MARKDOWN.add_render_rule("table_close", lambda *_: "</table></div>\n")


def table(rows: Sequence[Mapping[str, str]] | pd.DataFrame) -> str:
    """In Markdown. A row may lack a column; a column that is empty in every row is left out. No rows: not measured."""
    cells = pd.DataFrame(rows).fillna(MISSING)
    if cells.empty:
        return NOT_MEASURED
    shown = cells.loc[:, ~cells.isin(["", MISSING]).all()]
    return shown.to_markdown(index=False, disable_numparse=True)


def markdown(content: Sequence[Block]) -> str:
    return "\n\n".join(block for block in content if isinstance(block, str)) + "\n"


def web_page(content: Sequence[Block], other: Mapping[str, str]) -> str:
    """One HTML file that needs nothing else: pictures are inside. other: name → address of another page."""
    title, links, rendered = "", dict(other), []
    for block in content:
        if isinstance(block, Picture):
            rendered.append(_figure(block))
            continue
        tokens = MARKDOWN.parse(block)
        heading = tokens[1].content
        if tokens[0].tag == "h1":
            title = heading
        if tokens[0].tag == "h2":
            anchor = re.sub(r"\W+", "-", heading.lower())
            tokens[0].attrSet("id", anchor)
            links[heading] = f"#{anchor}"
        rendered.append(MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}))
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=title,
        links="\n".join(f'<a href="{address}">{name}</a>' for name, address in links.items()),
        body="\n".join(rendered),
    )


def _figure(picture: Picture) -> str:
    caption = html.escape(picture.caption)
    if not picture.path.exists():
        return f"<p><em>{caption}: not drawn yet.</em></p>"
    content = base64.b64encode(picture.path.read_bytes()).decode()
    image = f'<img alt="{caption}" src="data:image/png;base64,{content}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
