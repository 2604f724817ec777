import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax import numerics, tasks
from consingan_jax.config import Config
from consingan_jax.generation.architecture import architecture
from consingan_jax.nn.critic import Critic
from consingan_jax.nn.generator import Generator
from consingan_jax.training import compiler
from consingan_jax.training.step import StageStep

SIZES = ((12, 16), (15, 20), (20, 26))


def _program(tiny_config, num_stages=2, **changes):
    config = Config.create(**{**tiny_config, **changes})
    return StageStep(config, architecture(config, channels=3), SIZES[:num_stages])


def _run(program, key, calls):
    """Returns the state after calls of so many iterations each."""
    state, data = compiler.placeholders(program)
    run = compiler.compile_loop(program)
    for count in calls:
        state, metrics = run(state, data, key, np.int32(count))
    return state, metrics


def _equal(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


def test_the_result_does_not_depend_on_the_division_into_calls(tiny_config, key):
    program = _program(tiny_config, num_stages=3)
    whole, whole_metrics = _run(program, key, [6])
    parts, parts_metrics = _run(program, key, [1, 3, 0, 2])
    assert whole.step == 6
    assert _equal(whole, parts) and _equal(whole_metrics, parts_metrics)


def test_frozen_stages_and_head_stay_bit_identical_and_the_rest_moves(tiny_config, key):
    program = _program(tiny_config, num_stages=3)  # train_depth 2
    before = compiler.placeholders(program)[0].generator
    after = _run(program, key, [2])[0].generator
    assert _equal(before["head"], after["head"])
    assert _equal(before["stages"][0], after["stages"][0])
    for part in (before["stages"][1:], before["tail"]):
        new = after["stages"][1:] if isinstance(part, list) else after["tail"]
        assert not any(jax.tree.leaves(jax.tree.map(np.array_equal, part, new)))


def test_the_state_counts_updates(tiny_config, key):
    program = _program(tiny_config, num_stages=1, d_steps=2, g_steps=[4, 1, 1])
    state, metrics = _run(program, key, [3])
    assert metrics["finite"] == 1 and state.step == 3
    counts = {int(leaf) for leaf in jax.tree.leaves(state.critic_opt) if leaf.ndim == 0}
    assert counts == {6}
    counts = {int(leaf) for leaf in jax.tree.leaves(state.generator_opt) if leaf.ndim == 0}
    assert counts == {12}


def test_the_mean_of_the_weights_follows_them(tiny_config, key):
    program = _program(tiny_config, num_stages=3, ema_decay=0.15)
    state, data = compiler.placeholders(program)
    run = compiler.compile_loop(program)
    expected = jax.device_get(state.generator)
    for decay in (0.1, 0.15, 0.15):  # (1 + t) / (10 + t) at first, then `ema_decay`
        state, _ = run(state, data, key, np.int32(1))
        new = jax.device_get(state.generator)
        expected = jax.tree.map(lambda m, n, d=decay: d * m + (1 - d) * n, expected, new)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
            state.sampled,
            expected,
        )
    assert not _equal(state.generator, state.sampled)
    assert _equal(state.generator["head"], state.average["head"])  # frozen


def test_without_a_decay_there_is_no_mean(tiny_config, key):
    state, _ = _run(_program(tiny_config, num_stages=1), key, [1])
    assert state.average is None and state.sampled is state.generator


def test_a_penalty_in_every_second_step_counts_twice(tiny_config, key):
    every, second = (
        _program(tiny_config, num_stages=1, d_steps=1, gp_every=k, lr_critic=1e-12) for k in (1, 2)
    )
    penalties = [
        [float(_run(program, key, [count])[1]["gradient_penalty"]) for count in (1, 2, 3)]
        for program in (every, second)
    ]
    assert penalties[1][0] == pytest.approx(2 * penalties[0][0], rel=1e-4)
    assert penalties[1][1] == 0
    assert penalties[1][2] == pytest.approx(2 * penalties[0][2], rel=1e-2)


@pytest.mark.parametrize("task", ["generation", "editing"])
def test_the_relativistic_loss_trains(tiny_config, key, task):
    program = _program(tiny_config, task=task, loss="relativistic", ema_decay=0.9)
    _, metrics = _run(program, key, [3])
    assert metrics["finite"] == 1
    # Scores of real and fake are alike at first, and ln 2 is what the generator then loses.
    assert metrics["generator"] == pytest.approx(np.log(2), abs=0.05)


def test_metrics_say_when_a_parameter_is_no_number(tiny_config, key):
    program = _program(tiny_config, num_stages=1)
    state, data = compiler.placeholders(program)
    state = state.replace(critic=jax.tree.map(lambda x: x * jnp.nan, state.critic))
    _, metrics = compiler.compile_loop(program)(state, data, key, np.int32(1))
    assert metrics["finite"] == 0


def test_one_generator_pass_serves_the_critic_and_the_update(tiny_config, monkeypatch):
    """Nothing is computed twice: the folds over stages are traced once, the critic four times."""
    traced = []
    features, scores = Generator.features, Critic.scores

    def counted_features(*args, **kwargs):
        traced.append("generator")
        return features(*args, **kwargs)

    def counted_scores(*args):
        traced.append("critic")
        return scores(*args)

    monkeypatch.setattr(Generator, "features", counted_features)
    monkeypatch.setattr(Critic, "scores", counted_scores)
    program = _program(tiny_config, num_stages=1)
    state, data = compiler.shapes(program)
    traced.clear()
    view = program.generator.view(program.sizes)
    draw = functools.partial(program.draw, view=view)
    z, mixes = jax.eval_shape(draw, jax.eval_shape(lambda: numerics.key(0)), data)
    jax.eval_shape(program.iterate, state, data, z, mixes, view)
    assert traced.count("generator") == 1
    # In the body of the three critic steps: the pair, the mixed image; then the generator's loss.
    assert traced.count("critic") <= 4


def test_the_draw_of_an_iteration(tiny_config, key):
    program = _program(tiny_config, num_stages=2)
    _, data = compiler.placeholders(program)
    z, mixes = program.draw(key, data, program.generator.view(program.sizes))
    assert [one.shape[1:] for one in z] == [(12, 16, 3), (17, 22, 4)]
    assert mixes.shape == (3,) and np.all((mixes >= 0) & (mixes < 1))


def test_the_task_decides_what_goes_in_at_stage_0(tiny_config, key, monkeypatch):
    row = dataclasses.replace(tasks.TASKS["generation"], random_input="noisy_real")
    monkeypatch.setitem(tasks.TASKS, "generation", row)
    program = _program(tiny_config, num_stages=2)
    _, data = compiler.placeholders(program)
    data = data.replace(coarsest=jnp.full((1, 12, 16, 3), 5.0))
    z, _ = program.draw(key, data, program.generator.view(program.sizes))
    assert float(jnp.abs(z[0] - 5).mean()) < 0.2 and float(z[1].std()) > 0.9


@pytest.mark.parametrize("task", ["retarget", "editing"])
def test_other_tasks_train(tiny_config, key, task):
    program = _program(tiny_config, task=task, batch_norm=True)
    _, metrics = _run(program, key, [1])
    assert metrics["finite"] == 1


@pytest.mark.parametrize("task", ["generation", "retarget"])
def test_remat_changes_nothing_but_memory(tiny_config, key, task):
    def images(program):
        state, data = compiler.placeholders(program)
        z, _ = program.draw(key, data, program.generator.view(program.sizes))
        pair = program._random_and_fixed(state, data, z, program.generator.view(program.sizes))
        return jax.jit(jax.value_and_grad(lambda params: jnp.square(pair(params)).sum()))(
            state.generator
        )

    kept, remat = (images(_program(tiny_config, task=task, remat=flag)) for flag in (False, True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), kept, remat)


@pytest.mark.parametrize("task", ["generation", "retarget"])
def test_bfloat16_keeps_parameters_losses_and_optimiser_in_float32(tiny_config, key, task):
    changes = {"task": task, "batch_norm": task == "retarget", "train_depth": 1}
    program = _program(tiny_config, dtype="bfloat16", **changes)
    _, data = compiler.shapes(program)
    assert data.frozen_features.dtype == jnp.bfloat16 and data.real.dtype == jnp.float32
    after, rounded = _run(program, key, [1])
    assert rounded["finite"] == 1
    floats = {leaf.dtype for leaf in jax.tree.leaves((after, rounded))} - {jnp.dtype("int32")}
    assert floats == {jnp.dtype("float32")}
    exact = _run(_program(tiny_config, **changes), key, [1])[1]  # nearly the same losses
    for name, value in exact.items():
        assert abs(rounded[name] - value) < 0.03 * abs(value) + 1e-3, name
    assert rounded["generator"] != exact["generator"]
