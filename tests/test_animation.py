import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.data import noise
from consingan_jax.generation import animation
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture

GENERATOR = Generator(Architecture(num_filters=4))
VIEW = GENERATOR.view(((12, 15), (16, 20)))
WANTED = VIEW.noise(GENERATOR.arch)


@pytest.fixture(scope="module")
def model():
    """Parameters, the source of z* and amplitudes of a generator that shows its noise."""
    key = jax.random.key(0)
    params = jax.tree.map(lambda x: 4 * x, GENERATOR.init(key, 2))
    return params, noise.NoiseSource(noise.stage_keys(key, 2)), jnp.ones(2)


def _frames(model, num, *, loop=False):
    params, fixed, amps = model
    period = num if loop else animation.NO_PERIOD
    walk = animation.Walk(fixed, jax.random.key(1), 0.1, 0.9, period=period)
    return np.stack(list(animation.frames(params, amps, walk, num, generator=GENERATOR, view=VIEW)))


def _fresh(number):
    """Returns the noise of stage 1 in a step of the walk."""
    key = jax.random.fold_in(jax.random.key(1), number)
    return np.asarray(noise.NoiseSource(noise.stage_keys(key, 2)).draw(WANTED)[1])


def test_the_walk_by_hand(model):
    """Two steps from the stated start, written out in numpy."""
    _, fixed, _ = model
    still = np.asarray(fixed.draw(WANTED)[1])
    walk = animation.Walk(fixed, jax.random.key(1), 0.1, 0.8)
    positions = animation._first(walk, VIEW, generator=GENERATOR)
    before, now = still, 0.99 * still + 0.01 * _fresh(2**31)
    for t in range(2):
        positions = animation._step(walk, positions, t, WANTED)
        diff = 0.8 * (now - before) + 0.2 * _fresh(t)
        before, now = now, 0.1 * still + 0.9 * (now + diff)
        np.testing.assert_allclose(still + positions[0][1], now, atol=1e-5)


def test_frames_do_not_depend_on_their_number(model):
    long = _frames(model, animation.BATCH + 3)
    assert long.shape == (animation.BATCH + 3, 16, 20, 3)
    np.testing.assert_array_equal(long[:5], _frames(model, 5))


def test_stages_below_the_start_stand_still(model):
    walk = animation.Walk(model[1], jax.random.key(1), 0.1, 0.9, start_stage=1)
    positions = animation._first(walk, VIEW, generator=GENERATOR)
    for t in range(3):
        positions = animation._step(walk, positions, t, WANTED)
    assert not positions[0][0].any() and positions[0][1].all()


@pytest.mark.parametrize("num", [12, 40])
def test_a_loop_closes_without_a_jump(model, num):
    frames = _frames(model, num, loop=True)
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(frames)]
    closing = np.abs(frames[-1] - frames[0]).mean()
    assert closing <= 1.5 * np.median(steps)
    assert np.abs(frames - frames[0]).mean((1, 2, 3)).max() > 2 * np.median(steps)  # it moves


def test_the_open_walk_does_not_close(model):
    frames = _frames(model, 40)
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(frames)]
    assert np.abs(frames[-1] - frames[0]).mean() > 1.5 * np.median(steps)


def test_what_a_loop_needs_to_forget_its_start():
    """alpha 1 forgets at once; with alpha 0.1 and beta 0 a tenth is lost every step."""
    assert animation.warm_up(0.1, 0.0) == int(np.ceil(np.log(1e-4) / np.log(0.9)))
    assert animation.warm_up(0.1, 0.95) > animation.warm_up(0.5, 0.95)
    assert animation.warm_up(1.0, 0.9) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 0}, "frames=0: give 1 or more"),
        ({"alpha": 1.5}, "alpha=1.5: give a value from 0 to 1"),
        ({"beta": -0.1}, "beta=-0.1: give a value from 0 to 1"),
        ({"alpha": 0.0, "loop": True}, "alpha=0.0: a loop needs 0.01 or more"),
        ({"beta": 1.0, "loop": True}, "beta=1.0: a loop needs less than 1"),
    ],
)
def test_what_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        animation.check(**{"alpha": 0.1, "beta": 0.9, "num_frames": 5, "loop": False, **changes})
