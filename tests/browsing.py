"""What tests of pages ask of a browser (the fixture `browser`)."""

from __future__ import annotations

import json

OVERLAPS = """
const own = [...document.querySelectorAll('body *')].filter(e =>
  [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length);
const boxes = own.map(e => [e, e.getBoundingClientRect()]);
const found = [];
for (const [a, p] of boxes) for (const [b, q] of boxes)
  if (a !== b && !a.contains(b) && !b.contains(a) && !(a.closest('.wide') && b.closest('.wide') !== a.closest('.wide'))
      && !(b.closest('.wide') && b.closest('.wide') !== a.closest('.wide'))
      && p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1)
    found.push(a.textContent.slice(0, 40) + ' / ' + b.textContent.slice(0, 40));
return found;
"""
"""Pairs of elements with text of their own whose boxes overlap, where neither holds the other."""


def resize(browser, width: int) -> None:
    """Below 500 pixels it is a phone."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )


def events(browser) -> list[dict]:
    """Of the browser, since they were last asked for."""
    return [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]


def requested(browser) -> list[str]:
    """URLs that were asked for since the events were last asked for; what was inside the page is left out."""
    urls = [
        event["params"]["request"]["url"] for event in events(browser) if event["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith(("data:", "blob:"))]
