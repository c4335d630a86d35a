"""The findings of a report: what to do comes once, not once a layer.

A deep network has the same trouble at many sites. So the findings of a rule stand together: the worst one in full with
its advice, the other sites in a line; rules that only note something get a row each. `all_findings` holds nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from leaky.diagnosis import Diagnosis, Finding
from leaky.report.pen import Pen
from leaky.text import counted, ranges

LEVEL_STYLES = {"error": "bold red", "warning": "bold yellow", "info": "bold blue"}

LISTED = 6
"""Units that a finding's own message lists; with more, they get a line in which runs are drawn together."""
CONSEQUENCES = 8
"""Rules that are listed under the finding that theirs follow from."""
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
    roots = [finding for finding in diagnosis.findings if finding.follows_from is None]
    loud = [finding for finding in roots if finding.level != "info"]
    for first, *others in _by_rule(loud):
        causes = {first.name, *(other.name for other in others)}
        yield from _in_full(first, others, pen, [f for f in diagnosis.findings if f.follows_from in causes])
    told = {finding.name for finding in loud}
    quiet = [f for f in diagnosis.findings if f.level == "info" and f.follows_from not in told]
    notes = [sorted(group, key=_most_units) for group in _by_rule([f for f in quiet if f.name not in told])]
    groups = [*_by_rule(loud), *notes]
    if notes:
        yield pen.text("Noted (--verbose and the JSON file say more)", "bold")
        yield _brief(notes, pen)
        yield Text()
    if not groups:
        yield Text("No findings.\n")


def _by_rule(findings: Sequence[Finding]) -> list[list[Finding]]:
    """In the order in which each rule first comes: along the flow, the worst first; so is each group."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.rule, []).append(finding)
    return list(groups.values())


def _most_units(finding: Finding) -> int:
    return -len(finding.units)


def _in_full(
    finding: Finding, others: Sequence[Finding], pen: Pen, following: Sequence[Finding] = ()
) -> Iterable[RenderableType]:
    yield pen.parts(
        (finding.level.upper(), LEVEL_STYLES[finding.level]),
        (f" {_site(finding)} ", "bold"),
        (f"[{finding.rule}]", "dim"),
    )
    body: list[RenderableType] = [pen.text(finding.message)]
    if len(finding.units) > LISTED:
        body.append(pen.text(f"units {ranges(finding.units)}", "dim"))
    if others:
        body.append(pen.text(f"Also at {_sites(others)}."))
    if following:
        body.append(pen.text("What may follow from it:", "bold"))
        body += [pen.bullet(_follows(group)) for group in _by_rule(following)[:CONSEQUENCES]]
    yield Padding(Group(*body, pen.text(f"→ {finding.advice}", "italic")), (0, 0, 1, 2))


def _follows(group: list[Finding]) -> str:
    """The consequences of one rule: what it says of the network, else where."""
    if len(group) == 1 and group[0].site is None:
        return f"{group[0].message} [{group[0].rule}]"
    return f"{group[0].rule} at {_sites(group)}"


def _brief(notes: list[list[Finding]], pen: Pen) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=pen.width >= NARROW)
    table.add_column(overflow="fold")
    for group in notes:
        words = f"{_site(group[0])}: {group[0].message}" if len(group) == 1 else _sites(group)
        table.add_row(pen.text(group[0].rule, LEVEL_STYLES["info"]), pen.text(words))
    return table


def _sites(findings: Sequence[Finding]) -> str:
    """Where the findings are, with how many units at each site."""
    shown = [
        _site(finding) + (f" ({counted(len(finding.units), 'unit')})" if finding.units else "")
        for finding in findings[:OTHER_SITES]
    ]
    rest = len(findings) - len(shown)
    return ", ".join(shown) + (f" and {counted(rest, 'more site')}" if rest else "")


def _site(finding: Finding) -> str:
    return finding.site or "network"
