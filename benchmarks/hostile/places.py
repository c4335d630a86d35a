"""Where results go and what names look like: two results in one place, links, limits of the system, hostile words."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

import leaky
from benchmarks.hostile.commands import CHECK, CODE
from benchmarks.hostile.situation import Situation, command, one_line
from leaky.repairing.recipe import Recipe, Rectifier

HOSTILE_NAMES = {
    "an escape": "\x1b[31mred",
    "a bell and a null": "a\x07b\0c",
    "a direction override": "\u202egnp.exe",
    "a line break": "a\nError: b",
    "a carriage return": "a\rb",
    "half a surrogate": "a\udcffb",
    "5,000 characters": "x" * 5000,
    "a script": "<script>alert(1)</script>",
    "the end of a script": "</script><img src=x onerror=alert(1)>",
    "marks of rich": "[bold red]x[/] [link=file:///etc/passwd]y[/link]",
    "a format": "%s%n{0}{x!r}${HOME}",
    "marks of Markdown": "`a` | b | [c](javascript:alert(1))",
    "invisible letters": "a\u200b\u2066b\ufeff",
    "private characters": "\ue000\U000f0000",
}


def named_model(name: str) -> nn.Module:
    """A network with dead units whose layers bear this name."""
    torch.manual_seed(0)
    model = nn.Sequential()
    layers = (nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    for at, layer in enumerate(layers):
        model._modules[name.replace(".", "") + str(at)] = layer  # as setattr of another library may put it there
    with torch.no_grad():
        layers[0].bias[:6] = -50  # type: ignore[index, operator]
    model.__class__ = type(name.replace("\0", "").encode("utf-8", "ignore").decode(), (nn.Sequential,), {})
    return model


def _spelled_out(name: str) -> Callable[[Path], None]:
    """Nothing of a name steers whatever shows it."""

    def run(folder: Path) -> None:
        model, data = named_model(name), torch.randn(300, 4)
        checkup = leaky.check(model, data, seed=0)
        plan = leaky.repair(model, checkup, data)
        recipe = Recipe((Rectifier(name, 0.1),), (name,))
        pruned = leaky.prune(named_model(name), data)
        for thing in (checkup, plan, plan.plan, recipe, checkup.diagnosis, pruned, leaky.compare(checkup, checkup)):
            for words in (str(thing), repr(thing)):
                _shown(words)
        for thing, place in ((checkup, "a.json"), (plan.plan, "b.json"), (recipe, "c.json")):
            thing.save(folder / place)
            again = leaky.load(folder / place)
            assert str(again) == str(thing)
        checkup.save(folder / "a.html")
        page = (folder / "a.html").read_text("utf-8")
        assert "<script>alert(1)" not in page
        assert "<img src=x" not in page
        assert not [c for c in page if not c.isprintable() and c not in "\n\t"], "control characters in the page"
        one_line(lambda: leaky.apply_recipe(nn.Sequential(nn.ReLU()), recipe))

    return run


def _shown(words: str) -> None:
    assert not [line for line in words.splitlines() if line.startswith("Error: b")], "a line of its own"
    odd = [c for c in words if not c.isprintable() and c != "\n"]
    assert not odd, f"{odd[:3]!r} in {words[:200]!r}"
    longest = max(map(len, words.splitlines()), default=0)
    assert longest < 2000, f"a line of {longest} characters"


def _after(
    *arguments: str, status: int, words: str = "", prepare: Callable[[], object] = lambda: None
) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        (folder / "user.py").write_text(CODE)
        prepare()
        command(*arguments, status=(status,), words=words)

    return run


FINE = (*CHECK, "--fail-on", "never")


def _chain(folder: Path) -> None:
    Path("target").write_text("old")
    for link, to in (("c", "target"), ("b", "c"), ("a", "b")):
        Path(link).symlink_to(to)
    _after(*FINE, "--json", "a", status=0)(folder)
    assert all(Path(link).is_symlink() for link in "abc")
    assert Path("target").read_text().startswith("{")


def _to_null(folder: Path) -> None:
    Path("a").symlink_to("/dev/null")
    _after(*FINE, "--json", "a", status=0)(folder)
    assert Path("a").is_symlink()
    assert stat.S_ISCHR(Path("a").stat().st_mode)


def _hard_link(folder: Path) -> None:
    Path("a").write_text("old")
    os.link("a", "b")
    _after(*FINE, "--json", "a", status=0)(folder)
    assert Path("a").read_text().startswith("{")


def _repaired_into(make: Callable[[], object], check: Callable[[], object]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        make()
        dead = "def dead():\n    m = net()\n    m[0].bias.data[:] = -50\n    return m\n"
        (folder / "user.py").write_text(CODE + dead)
        command("repair", "user.py:dead", "--data", "noise:300x4", "--out", "a.pt", status=(0, 1))
        check()

    return run


def _link_kept() -> None:
    assert Path("a.pt").is_symlink()
    assert Path("b.pt").stat().st_size > 100


def _pipe_read(folder: Path) -> None:
    os.mkfifo("a.html")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("a.html").read_bytes()))
    reader.start()
    _after(*FINE, "--html", "a.html", status=0)(folder)
    reader.join(60)
    assert b"<html" in got[0][:2000]
    assert stat.S_ISFIFO(Path("a.html").stat().st_mode)


def _too_large(folder: Path) -> None:
    """The system allows no file of that size: the report is shown all the same."""
    (folder / "user.py").write_text(CODE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4500, hard))
    try:
        shown = command(*CHECK, "--json", "a.json", status=(2,))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert shown.strip(), "the report must come all the same"
    assert not Path("a.json").exists(), "half a file"


def _gone(folder: Path) -> None:
    inside = folder / "inside"
    inside.mkdir()
    os.chdir(inside)
    inside.rmdir()
    try:
        command("check", "user.py:net", "--data", "noise:300x4", "--json", "a.json", status=(2,))
    finally:
        os.chdir(folder)


def _saved(*then: str, status: int) -> Callable[[Path], None]:
    """A checkup is saved as a.json, and then."""

    def run(folder: Path) -> None:
        _after(*FINE, "--json", "a.json", status=0)(folder)
        before = Path("a.json").read_bytes()
        command(*then, status=(status,))
        assert Path("a.json").read_bytes() == before, "what was read was overwritten"

    return run


def _no_room() -> None:
    Path("a").symlink_to("a")


def _read_only() -> None:
    Path("a.json").write_text("old")
    Path("a.json").chmod(0o444)


PLACES: dict[str, Callable[[Path], None]] = {
    "a chain of symlinks": _chain,
    "a symlink to /dev/null": _to_null,
    "a hard link": _hard_link,
    "a symlink to itself": _after(*FINE, "--json", "a", status=2, prepare=_no_room),
    "a symlink into a folder that is missing": _after(
        *FINE, "--json", "a", status=2, prepare=lambda: Path("a").symlink_to("absent/b")
    ),
    "a symlink to a folder": _after(*FINE, "--json", "a", status=2, prepare=lambda: Path("a").symlink_to("/tmp")),
    "a name that ends in a slash": _after(*FINE, "--json", "a/", status=2),
    "a name of dots": _after(*FINE, "--json", "..", status=2),
    "a descriptor that is not open": _after(*FINE, "--json", "/dev/fd/987", status=2),
    "a descriptor of 30 digits": _after(*FINE, "--json", "/dev/fd/" + "9" * 30, status=2),
    "a file of the kernel": _after(*FINE, "--json", "/proc/version", status=2),
    "a new file of the kernel": _after(*FINE, "--json", "/proc/leaky.json", status=2),
    "a file that may only be read": _after(*FINE, "--json", "a.json", status=0, prepare=_read_only),
    "one name for two results": _after(*FINE, "--json", "a.html", "--html", "a.html", status=2),
    "two names of one place": _after(
        *FINE, "--json", "a", "--html", "b", status=2, prepare=lambda: Path("a").symlink_to("b")
    ),
    "the model's own file": _after(*FINE, "--json", "user.py", status=2),
    "the page over the model's own file": _after(*FINE, "--html", "./user.py", status=2),
    "the page in a folder that is a file": _after(*FINE, "--html-dir", "user.py", status=2),
    "the page in the parts of a device": _after(*FINE, "--html-dir", "/dev/null", status=2),
    "the page in a pipe": _pipe_read,
    "the page over the document": _saved("page", "a.json", "--out", "a.json", status=2),
    "a comparison over what is compared": _saved("compare", "a.json", "a.json", "--json", "a.json", status=2),
    "a limit on the size of files": _too_large,
    "a folder that is gone": _gone,
    "weights through a symlink": _repaired_into(lambda: Path("a.pt").symlink_to("b.pt"), _link_kept),
    "an endless document": _after("compare", "/dev/zero", "/dev/zero", status=2),
    "endless weights": _after(*CHECK, "--weights", "/dev/zero", status=2),
    "endless data": _after("check", "user.py:net", "--data", "/dev/zero", status=2),
    "random data": _after("check", "user.py:net", "--data", "/dev/urandom", status=2),
}


def situations() -> Iterator[Situation]:
    """All of them."""
    for name, place in PLACES.items():
        yield Situation("writing", name, _in_peace(place))
    for name, words in HOSTILE_NAMES.items():
        yield Situation("text", f"layers whose names have {name}", _spelled_out(words))


def _in_peace(place: Callable[[Path], None]) -> Callable[[Path], None]:
    """A situation with the mask and the folder put back."""

    def run(folder: Path) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(os.umask, os.umask(0o022))
            place(folder)

    return run
