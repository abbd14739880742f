"""What votes say, without a service: intervals, halves of votes, and who is preferred where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdmini_serve.api.preference import gauges, preferences, wilson_interval
from vdmini_serve.contract import metrics
from vdmini_serve.contract.comparison import Vote, comparison_id, counted, mark_of


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # the examples of Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_has_known_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_an_interval_holds_its_share_and_is_mirrored(trials, share):
    low, high = wilson_interval(share * trials, trials)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1
    mirrored = wilson_interval(trials - share * trials, trials)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (2, 1), (-1, 3)])
def test_what_is_no_proportion_is_refused(successes, trials):
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(successes, trials)


def test_no_difference_counts_as_half_a_vote():
    votes = {("t2v", "mini", "looks", "vdmini"): 2.0, ("t2v", "mini", "looks", "same"): 4.0}
    votes |= {("t2v", "mini", "looks", "teacher"): 2.0, ("t2v", "mini", "moves", "vdmini"): 0.0}
    (found,) = preferences(votes)  # a question without votes has no rate
    assert (found.vdmini, found.same, found.teacher, found.rate) == (2, 4, 2, 0.5)
    assert (found.low, found.high) == wilson_interval(4, 8)
    told = gauges([found])
    assert [told[each][("t2v", "mini", "looks")] for each in told] == [0.5, found.low, found.high]


@pytest.mark.parametrize("left", ["vdmini", "teacher"])
def test_a_vote_counts_for_whom_was_on_that_side(left):
    right = {"vdmini": "teacher", "teacher": "vdmini"}[left]
    added = dict(counted(Vote(looks="left", moves="right"), task="t2v", model="mini", left=left))
    ones = {metrics.parse_cell(field)[1] for field, amount in added.items() if amount}
    assert ones == {("t2v", "mini", "looks", left), ("t2v", "mini", "moves", right)}
    assert len(added) == 6


def test_marks_of_one_voter_have_nothing_in_common():
    first, second = comparison_id("a", "b"), comparison_id("a", "c")
    assert comparison_id("b", "a") == first
    assert len({mark_of(first, "me"), mark_of(second, "me"), mark_of(first, "you")}) == 3
    assert "me" not in mark_of(first, "me")
