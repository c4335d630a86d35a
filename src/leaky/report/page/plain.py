"""A page for readers without script: headings and tables, no picture, every word escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import chain
from typing import Any

from leaky.text import number, ranges, share


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


def _study(content: dict[str, Any]) -> list[str]:
    head = ["slope", "mean score", "trainings", "failed", f"difference to {content['reference']}", "from", "to"]
    arms = (
        [
            *(arm["label"], figure(arm["mean"]), arm["trainings"], arm["failed"]),
            *(figure(arm[name]) for name in ("difference", "low", "high")),
        ]
        for arm in content["arms"]
    )
    return [
        section("Slopes, the best first", [table(head, arms)]),
        section("Failed trainings", [table(["slope", "seed", "what", "why"], content["failures"])]),
        section("Notes", [f"<p>{words(note)}</p>" for note in content["notes"]]),
    ]


def _comparison(content: dict[str, Any]) -> list[str]:
    units = (
        [
            each["site"],
            each["verdict"],
            *(ranges(each[name]) for name in ("appeared", "gone", "confirmed", "undecided")),
        ]
        for each in content["units"]
    )
    findings = (
        [each["site"] or "network", each["rule"], each["before"] or "", each["after"] or "", each["message"]]
        for each in content["findings"]
    )
    return [
        section("Why it got worse", [f"<p>{words(reason)}</p>" for reason in content["reasons"]]),
        section("Totals", [table(["", "before", "now"], content["totals"])]),
        section("Units", [table(["site", "verdict", "appeared", "gone", "confirmed", "undecided"], units)]),
        section("Findings", [table(["site", "rule", "before", "now", "message"], findings)]),
        section("Notes", [f"<p>{words(note)}</p>" for note in content["notes"]]),
    ]


def _repair(content: dict[str, Any]) -> list[str]:
    pairs = ([name, *map(figure, both)] for name, *both, _ in content["before_after"])
    actions = (
        [each["site"] or "network", each["kind"], ranges(each["units"]), each["reason"]] for each in content["actions"]
    )
    left = ([site, ranges(units), reason] for site, units, reason in content["left"])
    drift = (
        [each["name"], "–" if each["change"] is None else share(each["change"]), *map(figure, each["second_moment"])]
        for each in content["drift"]
    )
    results = ([each["name"], figure(each["before"]), figure(each["after"])] for each in content["results"])
    return [
        section("Before and after", [table(["", "before", "after"], pairs)]),
        section("What was tried", [table(["treatment", "right after it", "after the training"], results)]),
        section("Layer by layer", [table(["site", "output changed by", "E z² before", "after"], drift)]),
        section("What was done", [table(["where", "what", "units", "why"], actions)]),
        section("What was left", [table(["where", "units", "why"], left)]),
        section("Notes", [f"<p>{words(note)}</p>" for note in content["notes"]]),
    ]


def _run(content: dict[str, Any]) -> list[str]:
    alarms = (
        [each["step"], each["site"] or "network", each["level"], each["message"], each["advice"]]
        for each in chain(*content["alarms"], *content["remarks"])
    )
    controls = (
        [
            each["step"],
            each["site"] or "a layer that no site follows",
            f"{each['kind']}, refused" if each["refused"] else each["kind"],
            each["message"],
            each["alarm"],
        ]
        for each in content["controls"]
    )
    sites = ([each["name"], each["activation"], f"{each['units']:,}"] for each in content["sites"])
    return [
        section("Alarms", [table(["step", "where", "level", "what", "what to do"], alarms)]),
        section("Controls", [table(["step", "where", "control", "what", "alarm"], controls)]),
        section("Sites", [table(["site", "activation", "units"], sites)]),
        section("Notes", [f"<p>{words(note)}</p>" for note in content["notes"]]),
    ]


def _diagram(content: dict[str, Any]) -> list[str]:
    gain = content["gain"]
    rows = ([f"{slope:g}", f"{gain * slope:g}", f"{gain:g}"] for slope in content["slopes"])
    return [table(["α", "derivative at and below 0", "derivative above 0"], rows)]


def _words(content: dict[str, Any]) -> list[str]:
    return [f"<pre>{words(content['text'])}</pre>"]


_SECTIONS = {
    "checkup": _checkup,
    "study": _study,
    "comparison": _comparison,
    "repair": _repair,
    "run": _run,
    "words": _words,
    "diagram": _diagram,
}
