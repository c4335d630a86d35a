"""A page for readers without script: headings and tables, no picture, every word escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from leaky.text import number, share


def plain_page(content: dict[str, Any]) -> str:
    """The content of a page as a fragment of HTML."""
    return "\n".join(
        [
            "<main>",
            f"<h1>{words(content['verdict'])}</h1>",
            f"<p>{words(content['subtitle'])}</p>",
            *_SECTIONS[content["kind"]](content),
            "<p>This page draws its charts with a script of its own, which did not run here.</p>",
            "</main>",
        ]
    )


def words(text: object) -> str:
    """Untrusted words as text of HTML."""
    return escape(str(text))


def section(title: str, parts: Iterable[str]) -> str:
    """A heading and what stands below it; nothing where nothing does."""
    inside = "\n".join(parts)
    return f"<h2>{words(title)}</h2>\n{inside}" if inside else ""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of words; the first column names its row. Nothing without rows."""
    body = "\n".join(
        f'<tr><th scope="row">{words(first)}</th>{"".join(f"<td>{words(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    columns = "".join(f'<th scope="col">{words(name)}</th>' for name in head)
    return f"<table><thead><tr>{columns}</tr></thead><tbody>\n{body}\n</tbody></table>" if body else ""


def figure(value: float | None) -> str:
    """A number, "–" where there is none."""
    return "–" if value is None else number(value)


def _checkup(content: dict[str, Any]) -> list[str]:
    head = ["site", "activation", "units", "dead", "locked", "silent so far", "dormant", "silent fire ≤", "range of z"]
    sites = (
        [
            site["name"],
            site["activation"],
            f"{site['units']:,}",
            *(f"{site[state]:,}" for state in ("dead", "locked", "unproven", "dormant")),
            "" if site["bound"] is None else share(site["bound"]),
            site["range"],
        ]
        for site in content["sites"]
    )
    return [
        section("Sites", [table(head, sites)]),
        section("Findings", map(_finding, content["findings"])),
        _not_examined(content["not_examined"]),
        section("Notes", [f"<p>{words(note)}</p>" for note in (*content["notes"], content["confidence"]) if note]),
    ]


def _finding(finding: dict[str, Any]) -> str:
    return (
        f"<h3>{words(finding['level'])}: {words(finding['site'] or 'network')} [{words(finding['rule'])}]</h3>\n"
        f"<p>{words(finding['message'])}</p>\n<p>{words(finding['advice'])}</p>"
    )


def _not_examined(items: list[list[str]]) -> str:
    return section("Not examined", [table(["what", "why"], items)])


_SECTIONS = {"checkup": _checkup}
