"""A page as HTML: the head, the table for readers without script, the data and the bundle.

Nothing may leave the page and nothing in it may run but the bundle: its content-security policy allows one script and
one style sheet by their hashes (or by their place beside the page) and no connection. Every word from a document is
escaped here, or packed in base64 and set as text by the bundle.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from pathlib import Path

_HERE = Path(__file__).parent

SCRIPT, STYLE, DATA, PAGE = "leaky.js", "leaky.css", "leaky-data.js", "index.html"
"""Names of the files of a page in parts."""


@cache
def bundle(name: str) -> str:
    """A file of the front end as it was built: bundle.js or bundle.css."""
    return (_HERE / name).read_text("utf-8")


def one_file(title: str, table: str, packed: str) -> str:
    """The whole page in one file."""
    script, style = bundle("bundle.js"), bundle("bundle.css")
    policy = f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    return _document(
        title,
        policy,
        f"<style>{style}</style>",
        table,
        f'<script type="application/octet-stream" id="leaky-data">{packed}</script>\n<script>{script}</script>',
    )


def in_parts(title: str, table: str, packed: str) -> dict[str, str]:
    """The page as files beside each other, by name: for servers whose policy forbids inline script and style."""
    page = _document(
        title,
        "script-src 'self'; style-src 'self'",
        f'<link rel="stylesheet" href="{STYLE}">',
        table,
        f'<script src="{DATA}"></script>\n<script src="{SCRIPT}"></script>',
    )
    return {
        PAGE: page,
        SCRIPT: bundle("bundle.js"),
        STYLE: bundle("bundle.css"),
        DATA: f'globalThis.leakyData = "{packed}";\n',
    }


def _document(title: str, policy: str, style: str, table: str, scripts: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {policy}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
{style}
</head>
<body>
<div id="leaky"></div>
<noscript>
{table}
</noscript>
{scripts}
</body>
</html>
"""


def _hash(text: str) -> str:
    """As a content-security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
