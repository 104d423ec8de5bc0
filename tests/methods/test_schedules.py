import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakd.methods.schedules import SCHEDULES, constant, cosine, linear, poly

RAMPS = pytest.mark.parametrize("ramp", [cosine, linear])


def test_each_has_its_name():
    assert dict(SCHEDULES) == {"cosine": cosine, "linear": linear, "constant": constant}


@RAMPS
@pytest.mark.parametrize("steps", [2, 7, 40_000])
def test_ramps_rise_from_0_to_1(ramp, steps):
    values = [ramp(step, steps) for step in range(0, steps, max(steps // 50, 1))]
    assert values[0] == 0
    assert ramp(steps - 1, steps) == pytest.approx(1, abs=1e-12)
    assert all(later > earlier for earlier, later in pairwise(values))


@pytest.mark.parametrize("schedule", SCHEDULES.values())
@given(steps=st.integers(1, 10**6), step=st.integers(0, 2 * 10**6))
def test_all_stay_between_0_and_1_and_hold_the_last_value(schedule, step, steps):
    assert 0 <= schedule(step, steps) <= 1
    if step >= steps - 1:
        assert schedule(step, steps) == 1


def test_cosine_is_the_formula():
    assert cosine(25, 101) == pytest.approx((1 - math.cos(math.pi / 4)) / 2)
    assert cosine(50, 101) == pytest.approx(0.5)
    assert cosine(1, 101) < linear(1, 101)


def test_linear_is_the_share_of_steps():
    assert linear(25, 101) == pytest.approx(0.25)


@pytest.mark.parametrize("step", [0, 1, 99])
def test_constant_is_1_from_the_start(step):
    assert constant(step, 100) == 1


@pytest.mark.parametrize("schedule", SCHEDULES.values())
def test_training_of_one_step_has_full_strength(schedule):
    assert schedule(0, 1) == 1


def test_poly_is_mmsegmentations():
    assert poly(0, 100) == 1
    assert poly(50, 100) == pytest.approx(0.99 * 0.5**0.9 + 0.01)
    assert poly(100, 100) == poly(150, 100) == 0.01
    assert poly(50, 100, power=2.0, floor=0.0) == pytest.approx(0.25)
    values = [poly(step, 100) for step in range(101)]
    assert all(later < earlier for earlier, later in pairwise(values))
