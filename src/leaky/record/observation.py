"""Everything that one observation of a network saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from leaky.errors import InputError
from leaky.record.site import Site


@dataclass(frozen=True)
class NotExamined:
    """Something that ran and could not be examined, and why: `name` as a site's, `reason` a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Record:
    """Everything that one observation saw.

    Attributes:
        model: what was observed, for the reader ("Sequential", "train.py:net").
        data: what it was observed on ("1,797 samples of digits.npy").
        mode: "eval" or "train": the mode the modules were in.
        samples: independent samples that went in.
        batches: batches that went in.
        sites: in the order in which they first ran.
        not_examined: what ran and could not be examined.
        on_noise: whether the data were made up; every verdict then says so.
        seed: of the random numbers during the observation, None where they were left alone.
        notes: remarks on how the observation went ("the sample axis was taken from nn.RNN: 1").
        versions: of the packages that observed, by name.
    """

    model: str
    data: str
    mode: str
    samples: int
    batches: int
    sites: tuple[Site, ...]
    not_examined: tuple[NotExamined, ...] = ()
    on_noise: bool = False
    seed: int | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Units examined, over all sites: the U of the evidence bound."""
        return sum(site.units for site in self.sites)

    def site(self, name: str) -> Site:
        """The site of this name.

        Raises:
            InputError: if there is none; the message lists the names.
        """
        for site in self.sites:
            if site.name == name:
                return site
        raise InputError(f"no site is named {name!r}; the sites are {_listing([s.name for s in self.sites])}")

    def merge(self, other: Record) -> Record:
        """The record of both sets of samples, as if one observation had seen them (ranks, shards, days).

        Sites that only one of them saw (a branch that no sample of the other took) are kept.

        Raises:
            InputError: if a site differs in activation or units.
        """
        theirs = {site.name: site for site in other.sites}
        mine = {site.name for site in self.sites}
        merged = tuple(site.merge(theirs[site.name]) if site.name in theirs else site for site in self.sites)
        return replace(
            self,
            samples=self.samples + other.samples,
            batches=self.batches + other.batches,
            sites=merged + tuple(site for site in other.sites if site.name not in mine),
            not_examined=tuple(dict.fromkeys(self.not_examined + other.not_examined)),
            on_noise=self.on_noise or other.on_noise,
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
        )


def _listing(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") if names else "none"
