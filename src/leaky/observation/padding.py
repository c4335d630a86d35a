"""Which positions of a batch are real and which are padding: a mask in the batch, one that the user gives, lengths.

A unit that fires on padding alone never learns: padded positions enter no figure, and a sample without a real position
is none. Which axis of a pre-activation the mask is about is told by following that axis of the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from leaky.errors import InputError
from leaky.observation.batches import Batch
from leaky.observation.nesting import fields_of
from leaky.observation.reduction import as_units
from leaky.structure.axes import Layout
from leaky.structure.graph import Node
from leaky.structure.listening import SiteCall
from leaky.structure.members import MemberCall
from leaky.structure.samples import Ids, Positions

Mask: TypeAlias = "bool | str | Callable[[Any], Tensor]"
"""True: a mask of a usual name in the batch; False: none; a name in the batch; or a function of the batch."""

KEEPS = ("attention_mask", "decoder_attention_mask")
"""Names under which a mask is 1 or True where a position is real."""

DROPS = ("src_key_padding_mask", "tgt_key_padding_mask", "key_padding_mask")
"""Names under which a mask is True, or −∞, where a position is padding: torch's."""


@dataclass
class RealPositions:
    """The masks of one batch.

    Attributes:
        by_key: mask of shape (samples, positions), True where real, by the key of the inputs' axis that it is about.
        foreign: keys of the inputs' axes that have no mask.
        own: those that the model makes itself, filled while it runs; they count where the batch holds none.
    """

    by_key: dict[int, Tensor] = field(default_factory=dict)
    foreign: set[int] = field(default_factory=set)
    own: dict[int, Tensor] = field(default_factory=dict)

    def at(self, call: SiteCall) -> Tensor | None:
        """Where a site's pre-activation is real, of shape (samples, positions); None where nothing says."""
        places = call.places
        step = (
            places is not None and len({*places.numbers.tolist()}) == 1
        )  # one step of all samples, or several stacked
        rows = places is not None and (not step or call.layout.positions == 1)
        return self._of_rows(call.ids, places, call.layout) if rows else self._along(call)

    def at_member(self, call: SiteCall, part: MemberCall) -> Tensor | None:
        """The same of the rows that one member made."""
        return self.at(call) if part.rows is None else self._of_rows(part.ids, part.places, part.layout)

    @property
    def _masks(self) -> dict[int, Tensor]:
        return self.by_key or self.own

    def _of_rows(self, ids: Ids | None, places: Positions | None, view: Layout) -> Tensor | None:
        """Of rows that are positions of samples each, picked or folded."""
        mask = None if places is None or ids is None else self._masks.get(places.key)
        if mask is None or places is None or ids is None or len(ids) != view.samples:
            return None
        real = mask[torch.from_numpy(ids), torch.from_numpy(places.numbers)]
        return real.reshape(-1, 1).expand(-1, view.positions)

    def _along(self, call: SiteCall) -> Tensor | None:
        view, masks = call.layout, self._masks
        factors = [f for axis in call.node.axes for f in axis]
        if not masks or view.sample_dim is None or view.positions < 2 or len(factors) != len(view.shape):
            return None
        places = _position_factors(view)
        own = [i for i in places if factors[i].key in masks]
        if own:
            mask = masks[factors[own[0]].key]
        else:
            if any(factors[i].key in self.foreign - {*masks} for i in places):
                return None
            lengths = {mask.shape[1]: mask for mask in masks.values()}
            own = [i for i in places if view.shape[i] in lengths]
            if len(own) != 1:
                return None
            mask = lengths[view.shape[own[0]]]
        if (call.ids is None and len(mask) != view.samples) or mask.shape[1] != view.shape[own[0]]:
            return None
        shape = [view.shape[i] if i == own[0] else 1 for i in places]
        spread = mask.reshape(len(mask), *shape).expand(len(mask), *(view.shape[i] for i in places))
        return spread.reshape(len(mask), view.positions)[slice(None) if call.ids is None else call.ids]


def chosen_rows(value: Tensor, view: Layout, real: Tensor) -> tuple[Tensor, Layout]:
    """The real positions of a tensor as (rows, units), and the layout of that."""
    rows = (
        as_units(value, view).permute(0, 2, 1)[real.reshape(view.samples, view.positions).to(value.device)].contiguous()
    )
    return rows, Layout((len(rows), view.units), (0, 1), len(rows), view.units, 1, 0, 1)


def _position_factors(view: Layout) -> tuple[int, ...]:
    """The factors of a layout that are positions: the last ones."""
    first = len(view.order)
    while first and math.prod(view.shape[i] for i in view.order[first:]) < view.positions:
        first -= 1
    return view.order[first:]


def positions_of(
    batch: Batch, samples: int, mask: Mask, node_of: Callable[[Tensor], Node | None], own: dict[int, Tensor]
) -> RealPositions:
    """The masks of a batch; none where every position is real, as far as anything says.

    Args:
        batch: whose inputs are being followed.
        samples: in it.
        mask: where to look.
        node_of: what is known of an input.
        own: where the model's own masks will be, by the key of the axis that they are about.

    Raises:
        InputError: if a mask that the user asked for is not there or not of shape (samples, positions).
    """
    found = _masks(batch, samples, mask)
    real = RealPositions(own=own)
    for name, tensor in batch.named.items():
        node = None if tensor.ndim < 2 else node_of(tensor)
        if node is None or len(node.axes[1]) != 1:
            continue
        partner = _partner(name, tensor, found)
        if partner is None:
            real.foreign.add(node.axes[1][0].key)
        else:
            real.by_key[node.axes[1][0].key] = partner
    return real


def hides_positions(batch: Batch, samples: int, mask: Mask) -> bool:
    """Whether a mask of the batch says that positions are padding."""
    return bool(_masks(batch, samples, mask))


def _masks(batch: Batch, samples: int, mask: Mask) -> dict[str, Tensor]:
    if mask is False:
        return {}
    if callable(mask):
        return {"": _checked(mask(batch.original), samples, "the mask")}
    held = dict(zip(batch.names, batch.args, strict=False)) | batch.kwargs
    for value in batch.args:
        held |= {} if isinstance(value, Tensor) else fields_of(value)
    if isinstance(mask, str):
        if not isinstance(held.get(mask), Tensor):
            names = ", ".join(held) or "those of a batch without names"
            raise InputError(f"mask must name a tensor of the batch, and {mask!r} is none of {names}")
        return {mask: _checked(_real(mask, held[mask]), samples, f"the mask {mask!r}")}
    usual = {name: held[name] for name in (*KEEPS, *DROPS) if isinstance(held.get(name), Tensor)}
    fitting = {name: tensor for name, tensor in usual.items() if tensor.ndim == 2 and len(tensor) == samples}
    return {name: real for name, tensor in fitting.items() if not bool((real := _real(name, tensor)).all())}


def _checked(mask: Any, samples: int, what: str) -> Tensor:
    if not isinstance(mask, Tensor) or mask.ndim != 2 or len(mask) != samples:
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"{what} must be a tensor of shape (samples, positions), {samples} samples here, not {shape}")
    return mask.bool()


def _real(name: str, mask: Tensor) -> Tensor:
    if name not in DROPS:
        return mask != 0
    return ~mask if mask.dtype == torch.bool else mask == 0


_SECOND = ("decoder_", "tgt")
"""How the names of what a decoder takes begin."""


def _partner(name: str, tensor: Tensor, masks: dict[str, Tensor]) -> Tensor | None:
    """The mask that is about an input: of its length, and of its side of a model that has two."""
    second = name.startswith(_SECOND)
    for mask_name, mask in masks.items():
        own_side = mask_name == "" or mask_name.startswith(_SECOND) == second
        if own_side and tuple(tensor.shape[:2]) == tuple(mask.shape):
            return mask
    return None
