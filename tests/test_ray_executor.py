"""What a cluster is asked for; `python -m tests.cluster` trains on one."""

import socket

import pytest

from consingan_jax import ray_executor
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.ray_executor import Ray
from consingan_jax.sweeps import work

TASK = work.WorkUnit((Config.create(image="examples/scene.png"),), ("runs/scene",))


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(ray_executor.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"engine=ray needs ray: python -m pip install ray"):
        list(Ray().map(str, [TASK]))


def test_nobody_is_asked_where_nothing_is_left_to_do(monkeypatch):
    monkeypatch.setattr(ray_executor.importlib.util, "find_spec", lambda _: True)
    assert not list(Ray("127.0.0.1:1").map(str, []))


def test_a_cluster_that_nobody_answers_for_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"no cluster at 127.0.0.1:{port}: Connection refused"
        ):
            ray_executor._check_reachable(f"127.0.0.1:{port}")
    ray_executor._check_reachable("auto")


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (0, {"JAX_PLATFORMS": "cpu"}),
        (0.5, {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.375"}),
        (1, {}),
    ],
)
def test_a_task_sees_its_share(gpus, expected):
    environment = Ray(gpus=gpus)._environment()
    assert environment.pop("PYTHONPATH") and environment == expected


def test_a_run_that_would_wait_for_ever(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {}}]
    Ray(cpus=2)._check_room(nodes)
    with pytest.raises(InputError, match=r"no machine has 3 CPUs and 0 GPUs: give --cpus"):
        Ray(cpus=3)._check_room(nodes)
    with pytest.warns(UserWarning, match="the runs wait until the cluster has one"):
        Ray("head:6379", gpus=1)._check_room(nodes)


def test_a_task_waits_for_the_lock_of_the_dead(monkeypatch):
    held = work.Result("another process trains in runs/scene: let it finish", is_held=True)
    done = [work.Result("")]
    outcomes = [[held], [held], done]
    monkeypatch.setattr(work, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(work.WorkUnit, "work", lambda _: outcomes.pop(0))
    assert work.work_elsewhere(TASK) == done
    outcomes.append([held])
    monkeypatch.setattr(work, "PATIENCE", -1.0)
    assert work.work_elsewhere(TASK) == [held]
