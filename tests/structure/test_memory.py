"""Two parts of one memory overlap where an element is in both, told by enumeration."""

from __future__ import annotations

import itertools

import torch

from leaky.structure.memory import overlap, place_of

WHOLE = torch.arange(6 * 8).reshape(6, 8)
ROWS, COLUMNS = (list(itertools.combinations(edges, 2)) for edges in ((0, 2, 3, 6), (0, 3, 4, 8)))
PARTS = [WHOLE[a:b, c:d] for a, b in ROWS for c, d in COLUMNS]


def test_parts_with_an_element_in_common_overlap_and_rows_or_columns_side_by_side_do_not() -> None:
    for one, other in itertools.product(PARTS, repeat=2):
        common = bool(set(one.flatten().tolist()) & set(other.flatten().tolist()))
        assert overlap(one, other) or not common
        if one.shape[0] == other.shape[0] == 6 or one.shape[1] == other.shape[1] == 8:
            assert overlap(one, other) == common


def test_nothing_overlaps_with_no_elements() -> None:
    assert not overlap(WHOLE, WHOLE[:0])


def test_what_has_no_memory_of_its_own_has_no_place() -> None:
    assert place_of(torch.eye(3).to_sparse()) is None
    assert place_of(WHOLE) == place_of(WHOLE.view(6, 8))
