"""The findings of a report, grouped by rule, so that the same advice is printed once and not for each layer.

A deep network has the same trouble at many sites. So the findings of a rule stand together: the worst one in full with
its advice, the other sites in a line; rules that only note something get a row each. `all_findings` holds nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leaky.diagnosis import Diagnosis, Finding, Level
from leaky.report.view import Block, Column, Gap, Line, Table, Tone, View, line, points
from leaky.text import counted, ranges

LEVEL_TONES: dict[Level, Tone] = {"error": "error", "warning": "warning", "info": "note"}
NOTHING: View = (line("No findings."), Gap())

LISTED = 6
"""Units that a finding's own message lists; with more, they get a line in which runs are drawn together."""
CONSEQUENCES = 8
"""Rules that are listed under the finding that theirs follow from."""
OTHER_SITES = 12
"""Sites that the line of the others names."""


def all_findings(diagnosis: Diagnosis) -> View:
    """Every finding in full, worst first."""
    found = [block for finding in diagnosis.findings for block in _in_full(finding, [])]
    return tuple(found) or NOTHING


def findings_by_rule(diagnosis: Diagnosis) -> View:
    """The worst finding of each rule in full, with the other sites in a line; mere notes in a line a rule."""
    view: list[Block] = []
    roots = [finding for finding in diagnosis.findings if finding.follows_from is None]
    loud = [finding for finding in roots if finding.level != "info"]
    for first, *others in _by_rule(loud):
        causes = {first.name, *(other.name for other in others)}
        view += _in_full(first, others, [f for f in diagnosis.findings if f.follows_from in causes])
    told = {finding.name for finding in loud}
    quiet = [f for f in diagnosis.findings if f.level == "info" and f.follows_from not in told]
    notes = [sorted(group, key=_most_units) for group in _by_rule([f for f in quiet if f.name not in told])]
    if notes:
        view += [line("Noted (--verbose and the JSON file say more)", "strong"), _brief(notes), Gap()]
    return tuple(view) or NOTHING


def _by_rule(findings: Sequence[Finding]) -> list[list[Finding]]:
    """In the order in which each rule first comes: along the flow, the worst first; so is each group."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.rule, []).append(finding)
    return list(groups.values())


def _most_units(finding: Finding) -> int:
    return -len(finding.units)


def _in_full(finding: Finding, others: Sequence[Finding], following: Sequence[Finding] = ()) -> Iterable[Block]:
    level, site, rule = finding.level.upper(), f" {_site(finding)} ", f"[{finding.rule}]"
    yield Line(((level, LEVEL_TONES[finding.level]), (site, "strong"), (rule, "quiet")))
    yield line(finding.message, indent=1)
    if len(finding.units) > LISTED:
        yield line(f"units {ranges(finding.units)}", "quiet", 1)
    if others:
        yield line(f"Also at {_sites(others)}.", indent=1)
    if following:
        yield line("What may follow from it:", "strong", 1)
        yield from points(map(_follows, _by_rule(following)[:CONSEQUENCES]), 2)
    yield line(f"→ {finding.advice}", "advice", 1)
    yield Gap()


def _follows(group: list[Finding]) -> str:
    """The consequences of one rule: what it says of the network, else where."""
    if len(group) == 1 and group[0].site is None:
        return f"{group[0].message} [{group[0].rule}]"
    return f"{group[0].rule} at {_sites(group)}"


def _brief(notes: list[list[Finding]]) -> Table:
    rows = [
        (group[0].rule, f"{_site(group[0])}: {group[0].message}" if len(group) == 1 else _sites(group))
        for group in notes
    ]
    return Table((Column("", tone="note", whole=True), Column("")), tuple(rows))


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
