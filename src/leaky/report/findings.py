"""The findings of a report: what to do comes once, not once a layer.

A deep network has the same trouble at many sites. So the findings of a rule stand together: the worst one in full with
its advice, the other sites in a line; rules that only note something get a row each. `all_findings` holds nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from leaky.diagnosis import Diagnosis, Finding, level_rank
from leaky.report.pen import Pen
from leaky.text import counted, ranges

LEVEL_STYLES = {"error": "bold red", "warning": "bold yellow", "info": "bold blue"}

LISTED = 6
"""Units that a finding's own message lists; with more, they get a line in which runs are drawn together."""
NARROW = 60
"""Below this width, the names of rules are wrapped."""
OTHER_SITES = 12
"""Sites that the line of the others names."""


def all_findings(diagnosis: Diagnosis, pen: Pen) -> Iterable[RenderableType]:
    """Every finding in full, worst first."""
    for finding in diagnosis.findings:
        yield from _in_full(finding, [], pen)
    if not diagnosis.findings:
        yield Text("No findings.\n")


def findings_by_rule(diagnosis: Diagnosis, pen: Pen) -> Iterable[RenderableType]:
    """The worst finding of each rule in full, with the other sites in a line; mere notes in a line a rule."""
    groups = [sorted(group, key=_badness, reverse=True) for group in _by_rule(diagnosis.findings)]
    for worst, *others in groups:
        if worst.level != "info":
            yield from _in_full(worst, others, pen)
    notes = [group for group in groups if group[0].level == "info"]
    if notes:
        yield pen.text("Noted (--verbose and the JSON file say more)", "bold")
        yield _brief(notes, pen)
        yield Text()
    if not groups:
        yield Text("No findings.\n")


def _by_rule(findings: tuple[Finding, ...]) -> list[list[Finding]]:
    """In the order in which each rule first comes, so the worst first."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.rule, []).append(finding)
    return list(groups.values())


def _badness(finding: Finding) -> tuple[int, int]:
    return level_rank(finding.level), len(finding.units)


def _in_full(finding: Finding, others: list[Finding], pen: Pen) -> Iterable[RenderableType]:
    yield pen.parts(
        (finding.level.upper(), LEVEL_STYLES[finding.level]),
        (f" {_site(finding)} ", "bold"),
        (f"[{finding.rule}]", "dim"),
    )
    body = [pen.text(finding.message)]
    if len(finding.units) > LISTED:
        body.append(pen.text(f"units {ranges(finding.units)}", "dim"))
    if others:
        body.append(pen.text(f"Also at {_sites(others)}."))
    yield Padding(Group(*body, pen.text(f"→ {finding.advice}", "italic")), (0, 0, 1, 2))


def _brief(notes: list[list[Finding]], pen: Pen) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=pen.width >= NARROW)
    table.add_column(overflow="fold")
    for group in notes:
        words = f"{_site(group[0])}: {group[0].message}" if len(group) == 1 else _sites(group)
        table.add_row(pen.text(group[0].rule, LEVEL_STYLES["info"]), pen.text(words))
    return table


def _sites(findings: list[Finding]) -> str:
    """Where the findings are, with how many units at each site."""
    shown = [
        _site(finding) + (f" ({counted(len(finding.units), 'unit')})" if finding.units else "")
        for finding in findings[:OTHER_SITES]
    ]
    rest = len(findings) - len(shown)
    return ", ".join(shown) + (f" and {counted(rest, 'more site')}" if rest else "")


def _site(finding: Finding) -> str:
    return finding.site or "network"
