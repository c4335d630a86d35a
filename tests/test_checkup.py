"""The Checkup: what `check` returns, saves, loads and shows; and what it leaves alone."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from rich.console import Console
from tests.records import normal, planted, record_from, site_from
from torch import Tensor, nn

import leaky
from leaky.checkup import CheckArguments, Checkup, Labels, checked
from leaky.diagnosis import VERDICTS, diagnose
from leaky.documents import dumps, schema
from leaky.errors import InputError
from leaky.record.writing import record_to_dict

NAMES = Labels("net", "noise")


def network(shift: float = 0.0) -> nn.Module:
    """A network whose first 5 of 16 units are dead if `shift` is large."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.LeakyReLU(0.1), nn.Linear(16, 2))
    with torch.no_grad():
        net[0].bias[:5] -= shift
    return net


def data(samples: int = 1500) -> Tensor:
    return torch.randn(samples, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def checkup() -> Checkup:
    return checked(CheckArguments(network(100.0), data(), initial=network()), NAMES)


def test_check_is_observe_and_diagnose(checkup: Checkup) -> None:
    record = NAMES.on(leaky.observe(network(100.0), data()))
    assert record_to_dict(checkup.record) == record_to_dict(record)
    assert checkup.verdicts["1"].dead == (0, 1, 2, 3, 4)
    assert checkup.findings == checkup.diagnosis.findings
    assert checkup.initial is not None
    assert checkup.findings == diagnose(record, initial=checkup.initial).findings


@pytest.mark.parametrize("form", ["state dict", "file", "module"])
def test_initial_weights_come_in_any_form_and_leave_the_model_alone(form: str, tmp_path: Path) -> None:
    net, first = network(100.0), network()
    torch.save(first.state_dict(), tmp_path / "first.pt")
    initial: Any = {"state dict": first.state_dict(), "file": tmp_path / "first.pt", "module": first}[form]
    before = copy.deepcopy(net.state_dict())
    found = leaky.check(net, data(), initial=initial)
    assert found.initial is not None
    assert not (found.initial.site("1").statistics.fired[:5] == 0).any()
    assert (found.record.site("1").statistics.fired[:5] == 0).all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_initial_weights_that_do_not_fit_or_are_none() -> None:
    with pytest.raises(InputError, match=r"the initial weights must fit the model: .*0.bias"):
        leaky.check(network(), data(), initial={"0.weight": torch.zeros(16, 4)})
    with pytest.raises(InputError, match="initial must be a state dict, a file of one or a model, not int"):
        leaky.check(network(), data(), initial=3)


def test_initial_weights_need_data_that_can_be_run_through_twice() -> None:
    with pytest.raises(InputError, match="run through twice, such as a list or a DataLoader, not a generator"):
        leaky.check(network(), (batch for batch in [data()]), initial=network())


def test_a_model_that_cannot_be_copied_gets_the_way_out() -> None:
    net = network()
    net.something = torch.ones(1, requires_grad=True) * 2  # no leaf: deepcopy refuses it
    with pytest.raises(InputError, match="pass initial= a second model that has them"):
        leaky.check(net, data(), initial=network().state_dict())


def test_a_misspelt_threshold_is_told_before_the_work() -> None:
    def no_batches() -> Any:
        raise AssertionError("the model was run")
        yield

    with pytest.raises(InputError, match="no threshold 'dormant_scor'; did you mean 'dormant_score'"):
        leaky.check(network(), no_batches(), thresholds={"dormant_scor": 0.1})


def test_thresholds_and_ignored_rules_arrive() -> None:
    found = leaky.check(network(100.0), data(), ignore=["dead"], thresholds={"dormant_score": 0.5})
    assert found.diagnosis.thresholds.dormant_score == 0.5
    assert "dead" not in {finding.rule for finding in found.findings}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batchsize": 3}, "check has no option 'batchsize'; did you mean 'batch_size'"),
        ({"treshold": {}}, "check has no option 'treshold'; did you mean 'thresholds'"),
        ({"batch_dim": 1}, "check has no option 'batch_dim'; did you mean 'sample_dim'"),
        ({"dormant_score": 0.5}, "dormant_score is a threshold: thresholds={'dormant_score': 0.5}"),
        ({"on_noise": True}, "check has no option 'on_noise'"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"mode": "test"}, "mode must be 'eval' or 'train', not 'test'"),
    ],
)
def test_a_misspelt_option_gets_its_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        leaky.check(network(), data(), **options)


def same(left: Checkup, right: Checkup) -> bool:
    return left.to_dict() == right.to_dict()


def test_saved_and_loaded_it_is_the_same(checkup: Checkup, tmp_path: Path) -> None:
    checkup.save(tmp_path / "a.json")
    again = leaky.load(tmp_path / "a.json")
    assert same(checkup, again)
    assert again.findings == checkup.findings
    assert again.verdicts == checkup.verdicts
    assert again.diagnosis.thresholds == checkup.diagnosis.thresholds
    assert str(again) == str(checkup)


def test_what_is_saved_follows_the_contract(checkup: Checkup) -> None:
    written = json.loads(dumps(checkup.to_dict()), parse_constant=pytest.fail)
    jsonschema.Draft202012Validator(schema()).validate(written)
    assert {"schema_version", "model", "data", "mode", "sites", "findings", "not_examined"} <= written.keys()
    site = written["sites"][0]
    assert (site["name"], site["activation"], site["negative_slope"]) == ("1", "ReLU", 0.0)
    assert (site["units"], site["samples"], site["dead"]) == (16, 1500, [0, 1, 2, 3, 4])
    assert len(site["firing_rate"]) == 16
    assert set(VERDICTS) <= site.keys()
    assert set(VERDICTS) <= schema()["$defs"]["site"]["properties"].keys()
    finding = written["findings"][0]
    assert finding.keys() == {"rule", "level", "site", "units", "message", "evidence", "advice", "follows_from"}


def test_the_schema_refuses_a_site_without_verdicts(checkup: Checkup) -> None:
    written = checkup.to_dict()
    del written["sites"][0]["dead"]
    with pytest.raises(jsonschema.ValidationError, match="'dead' is a required property"):
        jsonschema.Draft202012Validator(schema()).validate(written)


def test_a_checkup_without_findings_is_diagnosed_on_loading(checkup: Checkup, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(dumps({"schema_version": 1, **record_to_dict(checkup.record)}))
    assert leaky.load(tmp_path / "record.json").verdicts == checkup.verdicts


def test_the_first_checkups_had_no_kind(checkup: Checkup, tmp_path: Path) -> None:
    written = checkup.to_dict()
    del written["kind"]
    (tmp_path / "old.json").write_text(dumps(written))
    assert same(checkup, leaky.load(tmp_path / "old.json"))


def test_save_knows_its_formats(checkup: Checkup, tmp_path: Path) -> None:
    for name in ("a.pkl", "a"):
        with pytest.raises(InputError, match=r"suffix must be one of \.json, \.html, not"):
            checkup.save(tmp_path / name)
    with pytest.raises(InputError, match="the folder of"):
        checkup.save(tmp_path / "absent" / "a.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["findings"][0].update(level="fatal"), r"findings\[0\].level must be one of 'info'"),
        (lambda d: d["findings"][0].pop("advice"), r"findings\[0\].advice must be a string, not missing"),
        (lambda d: d["sites"][0].update(dead=[16]), r"sites\[0\].dead must be a list of units below 16"),
        (lambda d: d["sites"][0].update(dead=[-1]), r"sites\[0\].dead must be a list of units below 16"),
        (lambda d: d["sites"][0].pop("dormant"), r"sites\[0\].dormant must be a list, not missing"),
        (lambda d: d.update(initial=3), "initial must be an object or null, not 3"),
        (lambda d: d["thresholds"].update(delta=7.0), "the threshold delta must be a number in"),
    ],
)
def test_a_damaged_file_is_told(checkup: Checkup, tmp_path: Path, change: Any, message: str) -> None:
    written = json.loads(dumps(checkup.to_dict()))
    change(written)
    (tmp_path / "a.json").write_text(json.dumps(written))
    with pytest.raises(InputError, match=message):
        leaky.load(tmp_path / "a.json")


def test_thresholds_of_a_later_leaky_are_ignored(checkup: Checkup, tmp_path: Path) -> None:
    written = checkup.to_dict()
    written["thresholds"] |= {"a_later_one": 1.0}
    (tmp_path / "a.json").write_text(dumps(written))
    assert leaky.load(tmp_path / "a.json").diagnosis.thresholds == checkup.diagnosis.thresholds


def test_it_shows_itself_everywhere(checkup: Checkup) -> None:
    assert str(checkup).startswith("Of 32 units at 2 sites: 5 dead (16%)")
    assert "\x1b" not in str(checkup)
    assert repr(checkup).startswith("<Checkup of 'net': Of 32 units")
    shown = checkup._repr_mimebundle_()
    assert shown["text/plain"] == str(checkup)
    assert shown["text/html"] == checkup._repr_html_()
    stream = io.StringIO()
    Console(width=80, file=stream, _environ={}).print(checkup)
    assert "5 dead (16%)" in stream.getvalue()


def test_a_checkup_of_a_record_needs_no_torch(tmp_path: Path) -> None:
    z = planted(normal(2000, 6), [2], -1.0)
    Checkup(diagnose(record_from(site_from(z, 0.0)))).save(tmp_path / "a.json")
    program = (
        "import sys, leaky; found = leaky.load(sys.argv[1]); print(found); found._repr_html_(); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "a.json"], capture_output=True, check=True)
    assert b"1 dead" in done.stdout


def test_non_finite_statistics_survive_the_file(tmp_path: Path) -> None:
    z = normal(2000, 3)
    z[:, 1] = np.nan
    found = Checkup(diagnose(record_from(site_from(z, 0.0))))
    found = replace(found, initial=found.record)
    found.save(tmp_path / "a.json")
    assert same(leaky.load(tmp_path / "a.json"), found)
