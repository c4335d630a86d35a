"""The log of a watch, a JSON object a line, written while it runs.

A process that is killed leaves all lines up to the last flush; reading stops at the first line that is not whole.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from leaky.documents import Reader, loads, plain
from leaky.errors import InputError
from leaky.text import named
from leaky.watching.alarm import Alarm
from leaky.watching.control_record import ControlRecord
from leaky.watching.history import SiteFigures
from leaky.watching.run import Run
from leaky.watching.unit_rates import KeptMoments, Levels, UnitRates

KIND, VERSION = "run-log", 1


class Log:
    """Appends what a watch says to a file; every line is flushed as it is written.

    Args:
        path: of the file, which is begun anew.
        model: what is trained, for the reader.
        thresholds: that decide.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], model: str, thresholds: dict[str, float]) -> None:
        self._told: set[str] = set()
        try:
            self._file: IO[str] = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  # open as long as the watch
        except OSError as error:
            raise InputError(f"the log {named(os.fspath(path))} must be writable: {error.strerror}") from error
        self._write({"kind": KIND, "schema_version": VERSION, "model": model, "thresholds": thresholds})

    def report(
        self,
        step: int,
        samples: int,
        row: SiteFigures,
        sites: dict[str, tuple[int, str]],
        rates: Mapping[str, Levels] | None = None,
    ) -> None:
        """Write a report; sites are told when they first come, firing rates unit by unit where they are given."""
        new = {name: {"units": units, "activation": kind} for name, (units, kind) in sites.items()}
        new = {name: about for name, about in new.items() if name not in self._told}
        self._told.update(new)
        line: dict[str, Any] = {"step": step, "samples": samples, "figures": row}
        if rates:
            line["unit_rates"] = {name: base64.b64encode(each.tobytes()).decode() for name, each in rates.items()}
        self._write({**line, "sites": new} if new else line)

    def alarm(self, alarm: Alarm) -> None:
        """Write an alarm."""
        self._write({"alarm": plain.encode(alarm)})

    def control(self, place: int, control: ControlRecord) -> None:
        """Write a control as it is now, by its place among them: what was undone is written again."""
        if not self._file.closed:
            self._write({"control": plain.encode(control), "place": place})

    def note(self, note: str) -> None:
        """Write a remark."""
        self._write({"note": note})

    def close(self, ended: str) -> None:
        """Write how it ended."""
        self._write({"ended": ended})
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(plain.encode(line), ensure_ascii=True, allow_nan=False) + "\n")
        self._file.flush()


def read(path: str | os.PathLike[str]) -> Run:
    """The run that a log tells of, up to where it is whole.

    Raises:
        InputError: if the file cannot be read, is no log, or was written by a newer leaky.
    """
    source = named(os.fspath(path))
    found = _lines(Path(path), source)
    head = next(found, Reader({}, source))
    if head.data.get("kind") != KIND:
        raise InputError(f"{source} must be a log of leaky.watch, whose first line says so")
    if head.count("schema_version", 1) > VERSION:
        raise InputError(f"{source} was written by a newer leaky: install it (pip install --upgrade leaky)")
    sites: dict[str, tuple[int, str]] = {}
    reports: list[tuple[int, int, SiteFigures]] = []
    alarms: list[Alarm] = []
    notes: list[str] = []
    controls: dict[int, ControlRecord] = {}
    ended, moments = "", KeptMoments()
    for line in found:
        for name in line.get("sites", dict, {}):
            about = line.inside("sites").inside(name)
            sites[name] = (about.count("units"), about.get("activation", str))
        if "figures" in line.data:
            reports.append((line.count("step"), line.count("samples"), _row(line)))
            if "unit_rates" in line.data:
                moments.add(line.count("step"), _levels(line))
        elif "alarm" in line.data:
            alarms.append(plain.decode(Alarm, line.inside("alarm")))
        elif "control" in line.data:
            controls[line.count("place")] = plain.decode(ControlRecord, line.inside("control"))
        elif "note" in line.data:
            notes.append(line.get("note", str))
        ended = line.get("ended", str, ended)
    thresholds = {name: float(value) for name, value in head.get("thresholds", dict, {}).items() if _is_number(value)}
    rates = moments.document({name: units for name, (units, _) in sites.items()})
    rest: dict[str, Any] = {"alarms": tuple(alarms), "ended": ended, "notes": tuple(notes), "thresholds": thresholds}
    rest |= {"unit_rates": rates, "controls": tuple(controls.values())}
    return Run.of_rows(head.get("model", str), sites, reports, **rest)


def _row(line: Reader) -> SiteFigures:
    figures = line.get("figures", dict)
    return {
        name: {key: float(value) if _is_number(value) else math.nan for key, value in each.items()}
        for name, each in figures.items()
        if isinstance(each, dict)
    }


def _levels(line: Reader) -> dict[str, Levels]:
    found = UnitRates(np.zeros(1, np.int64), {k: v for k, v in line.get("unit_rates", dict).items() if type(v) is str})
    return {name: found.levels(name)[0] for name in found.cells}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _lines(path: Path, source: str) -> Iterator[Reader]:
    """Every whole line; the first that is not ends the file."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{source} must be a readable file: {error.strerror}") from error
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            yield Reader(loads(line, source), source, f"line {number}")
        except InputError:
            return
