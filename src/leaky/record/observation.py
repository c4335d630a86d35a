"""Everything that one observation of a network saw."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from leaky import documents
from leaky.errors import InputError
from leaky.record.derivatives import Derivatives
from leaky.record.ends import LossTerm, ParameterGradients, TensorStatistics, merged
from leaky.record.layers import Choice, Normalisation, SharedLayer
from leaky.record.site import Site
from leaky.text import counted, listed, named, printable


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
        inputs, outputs: what went in and what came out, a tensor each; empty in files of older versions.
        terms: where the loss compared an output with a target of the batch, as far as that could be seen.
        gradients: which parameters the loss's gradient reached, None without a loss.
        normalisations: BatchNorms and their running statistics.
        shared_layers: layers that ran more than once in one pass.
        unregistered: layers that ran and whose weights are no parameters of the model.
        choices: how gates and attention chose, on the first batch.
        derivatives: that the loss or the forward pass takes of what the network computes; None where it takes none.
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
    inputs: tuple[TensorStatistics, ...] = ()
    outputs: tuple[TensorStatistics, ...] = ()
    terms: tuple[LossTerm, ...] = ()
    gradients: ParameterGradients | None = None
    normalisations: tuple[Normalisation, ...] = ()
    shared_layers: tuple[SharedLayer, ...] = ()
    unregistered: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    derivatives: Derivatives | None = None

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
        raise InputError(f"no site is named {named(name)}; the sites are {listed(named(s.name) for s in self.sites)}")

    def __repr__(self) -> str:
        seen = f"{counted(self.units, 'unit')} at {counted(len(self.sites), 'site')}"
        return printable(f"<Record of {named(self.model)}: {seen}, {counted(self.samples, 'sample')}>")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as JSON, whole or not at all; `leaky.load` reads it.

        Raises:
            InputError: if the file cannot be written.
        """
        documents.save(path, "record", self)

    def merge(self, other: Record) -> Record:
        """The record of both sets of samples, as if one observation had seen them (ranks, shards, days).

        Sites that only one of them saw (a branch that no sample of the other took) are kept.

        Raises:
            InputError: if a site differs in activation or units.
        """
        theirs = {site.name: site for site in other.sites}
        mine = {site.name for site in self.sites}
        both = tuple(site.merge(theirs[site.name]) if site.name in theirs else site for site in self.sites)
        return replace(
            self,
            samples=self.samples + other.samples,
            batches=self.batches + other.batches,
            sites=both + tuple(site for site in other.sites if site.name not in mine),
            not_examined=tuple(dict.fromkeys(self.not_examined + other.not_examined)),
            on_noise=self.on_noise or other.on_noise,
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
            inputs=merged(self.inputs, other.inputs),
            outputs=merged(self.outputs, other.outputs),
            terms=merged(self.terms, other.terms),
            gradients=self.gradients.merge(other.gradients)
            if self.gradients and other.gradients
            else self.gradients or other.gradients,
            normalisations=self.normalisations or other.normalisations,
            shared_layers=self.shared_layers or other.shared_layers,
            unregistered=tuple(dict.fromkeys(self.unregistered + other.unregistered)),
            choices=merged(self.choices, other.choices),
            derivatives=self.derivatives.merge(other.derivatives)
            if self.derivatives and other.derivatives
            else self.derivatives or other.derivatives,
        )
