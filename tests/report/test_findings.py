"""Findings under the table: the worst first, advice once a rule, and all of it where it is asked for."""

from __future__ import annotations

import re
from dataclasses import replace

from leaky.diagnosis import Diagnosis, Finding
from leaky.report.drawing import as_text
from leaky.report.terminal import TerminalReport


def finding(rule: str, level: str, site: str | None, units: int = 0) -> Finding:
    name = f"{rule} at {site}"
    return Finding(rule, level, site, tuple(range(units)), f"message of {name}", {}, f"advice for {name}")  # type: ignore[arg-type]


MANY = (
    finding("dead", "error", "b", 3),
    finding("dead", "error", "c", 9),
    finding("growth", "warning", None),
    finding("dead", "warning", "a", 20),
    *(finding("dormant", "info", f"site {i}", 1 + i) for i in range(20)),
    finding("gain", "info", None),
)


def shown(diagnosis: Diagnosis, findings: tuple[Finding, ...], full: bool = False) -> str:
    return as_text(TerminalReport(replace(diagnosis, findings=findings), full), 350)


def test_the_first_of_a_rule_along_the_flow_speaks_for_the_others(diagnosis: Diagnosis) -> None:
    text = shown(diagnosis, MANY)
    assert (
        "ERROR b [dead]\n  message of dead at b\n  Also at c (9 units), a (20 units).\n"
        "  → advice for dead at b\n\nWARNING network [growth]\n"
    ) in text
    assert text.count("advice for") == 2


def test_notes_are_brief(diagnosis: Diagnosis) -> None:
    lines = shown(diagnosis, MANY).splitlines()
    dormant = next(line for line in lines if line.startswith("dormant"))
    assert re.match(r"dormant +site 19 \(20 units\), site 18 \(19 units\)", dormant)
    assert dormant.endswith("site 8 (9 units) and 8 more sites")
    assert any(re.fullmatch("gain +network: message of gain at None", line) for line in lines)


def test_everything_is_shown_where_it_is_asked_for(diagnosis: Diagnosis) -> None:
    text = shown(diagnosis, MANY, full=True)
    for each in MANY:
        assert f"{each.message}\n" in text
        assert f"→ {each.advice}\n" in text


def test_no_findings_are_said_to_be_none(diagnosis: Diagnosis) -> None:
    for full in (True, False):
        assert "\nNo findings.\n" in shown(diagnosis, (), full)


def test_what_follows_stands_under_its_cause(diagnosis: Diagnosis) -> None:
    cause = Finding("input-scale", "error", None, (), "the input is large", {}, "standardise it")
    after = [
        Finding("dead", "error", site, (0,), f"dead at {site}", {}, "mend the input", follows_from="input-scale")
        for site in ("a", "b")
    ]
    last = Finding("same-output", "info", None, (), "all alike", {}, "mend the input", follows_from="input-scale")
    text = shown(diagnosis, (cause, *after, last))
    assert text.startswith("ERROR the input is large.\n")
    told = text[text.index("What may follow") :]
    assert told.startswith(
        "What may follow from it:\n    · dead at a (1 unit), b (1 unit)\n    · all alike [same-output]\n"
    )
    assert "mend the input" not in text
    assert "Noted" not in text
