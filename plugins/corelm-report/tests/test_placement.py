"""The labels of plots cover nothing."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from corelm_report.render.placement import Box, pieces, place_labels, shared, spread
from hypothesis import given
from hypothesis import strategies as st

PLOT = Box(0, 0, 400, 300)


def overlap(one: Box, two: Box) -> float:
    return float(shared([one], [two])[0])


def test_a_single_label_is_next_to_its_mark():
    [box] = place_labels([(200, 150)], [(40, 10)], PLOT)
    assert (box.left, box.middle[1]) == (207, 150)


def test_labels_of_marks_at_one_place_do_not_cover_each_other():
    boxes = place_labels([(200, 150)] * 6, [(60, 14)] * 6, PLOT)
    assert sum(overlap(*pair) for pair in combinations(boxes, 2)) == 0


def test_a_label_stays_in_the_plot_and_covers_nothing():
    written, line = Box(208, 140, 300, 160), [(0, 0), (400, 300)]
    [box] = place_labels([(200, 150)], [(60, 14)], PLOT, [written], pieces(line, 8, 3))
    assert overlap(box, written) == 0
    assert sum(overlap(box, piece) for piece in pieces(line, 8, 3)) == 0
    [corner] = place_labels([(399, 299)], [(60, 14)], PLOT)
    assert overlap(corner, PLOT) == pytest.approx(60 * 14)


def test_no_line_from_a_label_to_its_mark_crosses_another_label():
    """A line is next to the mark and a label above it: only past the line there is room."""
    mark, line, label = (5, 10), Box(8, 3, 80, 17), Box(0, 20, 60, 34)
    [box] = place_labels([mark], [(50, 14)], Box(0, 0, 400, 100), [label], [line])
    assert overlap(box, line) == 0
    assert overlap(box, label) == 0
    assert shared(pieces([box.middle, mark], 5, 1), [label]).sum() == 0


def test_no_line_from_a_label_to_its_mark_crosses_another_line_without_need():
    """Four samplers at one mark of a curve, with a dotted line to the right of it."""
    mark, curve = (200, 150), pieces([(0, 0), (400, 300)], 8, 3)
    sizes = [(90, 14), (110, 14), (60, 14), (100, 14)]
    for x in (240, 250, 260, 270, 280):
        dotted = pieces([(x, 0), (x, 0.75 * x)], 8, 3)
        boxes = place_labels([mark] * 4, sizes, PLOT, [], [*curve, *dotted])
        for box in boxes:
            assert shared(pieces([box.middle, mark], 5, 1), dotted).sum() == 0


def test_a_label_is_nearer_to_its_own_mark_than_to_another():
    boxes = place_labels([(200, 150), (214, 150)], [(40, 14)] * 2, PLOT)
    assert boxes[0].middle[0] < 200 < 214 < boxes[1].middle[0]


heights = st.lists(st.floats(-50, 150), max_size=12)


@given(heights)
def test_spread_heights_keep_their_order_their_distance_and_the_range(wanted):
    found = spread(wanted, 5.0, 0.0, 100.0)
    rising = sorted(range(len(wanted)), key=wanted.__getitem__)
    assert all(found[j] - found[i] >= 5 - 1e-6 for i, j in pairwise(rising))
    assert all(-1e-6 <= height <= 100 + 1e-6 for height in found)


def test_spread_heights_that_have_room_stay():
    assert spread([90.0, 10.0, 50.0], 5.0, 0.0, 100.0) == [90.0, 10.0, 50.0]


def test_spread_heights_without_room_are_evenly_close():
    assert spread([1.0, 2.0, 3.0], 50.0, 0.0, 10.0) == [0.0, 5.0, 10.0]
