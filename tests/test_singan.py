"""SinGAN as a second method: its arithmetic against the recordings, and its runs."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import consingan_jax
from consingan_jax import checkpoint, numerics
from consingan_jax.cli import import_run
from consingan_jax.config import Config
from consingan_jax.data import noise, scale_pyramid
from consingan_jax.data.noise import NoiseSource
from consingan_jax.errors import InputError
from consingan_jax.generation import sampling, scale_import, torch_import
from consingan_jax.generation.architecture import architecture
from consingan_jax.nn import byte_resize
from consingan_jax.nn.scale_generator import ScaleArchitecture, ScaleGenerator
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.tiled import render
from consingan_jax.training import compiler, estimate, trainer
from consingan_jax.training.iterations import iteration_of
from tests import parity, singan_parity
from tests.test_trainer import KilledError, _equal, _kill_after

RECORDINGS = pathlib.Path(__file__).parent / "recordings/singan"
SMALL = {  # two scales, the upper of which has a finished one below
    **{"method": "singan", "min_size": 15, "max_size": 28, "scale_factor": 0.5},
    **{"num_filters": 4, "num_layers": 1, "num_iters": 4, "log_every": 2, "sample_every": 4},
}


@pytest.fixture(scope="module")
def small(picture):
    """A configuration that trains in seconds."""
    return SMALL | {"image": str(picture)}


@pytest.fixture(scope="module")
def run(small, once):
    """The directory of a finished run."""
    return once("singan", lambda path: trainer.train(small, path))


@pytest.fixture(scope="module")
def recording():
    """The recorded training of five scales, the last of which is twice as wide."""
    with np.load(RECORDINGS / "trajectory_doubling.npz") as file:
        return singan_parity.Recording(dict(file))


# Arithmetic.


def test_recorded_pyramids():
    checks = parity.replay(RECORDINGS / "pyramid_sizes.json")
    assert len(checks) == 2 and all(check.ok for check in checks)


def test_a_recorded_training(recording):
    """The command replays all scales, and all iterations in double precision."""
    checks = [*singan_parity.Replay(recording, 1).checks()]
    assert len(checks) >= 9 and [check for check in checks if not check.ok] == []


def test_recorded_levels_and_samples(recording):
    checks = [*singan_parity.pyramid(recording), *singan_parity.samples(recording)]
    assert len(checks) > 40 and [check for check in checks if not check.ok] == []


def test_bytes():
    values = jnp.asarray([-2, -1, -0.999, 0, 0.999, 1, 3], jnp.float32)
    assert byte_resize.to_bytes(values).tolist() == [0, 0, 0, 127, 254, 255, 255]
    np.testing.assert_allclose(
        byte_resize.from_bytes(np.array([0, 255, 300, 51.0])), [-1, 1, 1, -0.6]
    )
    # One pass takes 1..63 down by one, and leaves the others.
    levels = byte_resize.to_bytes(byte_resize.from_bytes(np.arange(256.0)))
    assert (np.arange(256) - levels).tolist() == [0, *63 * [1], *192 * [0]]
    image = np.full((4, 6, 1), 0.5, np.float32)
    assert byte_resize.resize(image, 1.3).shape == (6, 8, 1)
    np.testing.assert_allclose(byte_resize.resize(image, 1.3), 191 / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(byte_resize.resize_to(image, (3, 9), through_bytes=False), 0.5)


def test_a_dark_file_is_read_as_the_published_program_reads_it():
    levels = np.arange(256, dtype=np.float32).reshape(16, 16, 1)
    top = scale_pyramid.top_level(levels / 127.5 - 1, 250)
    darker = np.where((levels > 0) & (levels < 64), levels - 1, levels)
    np.testing.assert_allclose(top, darker / 127.5 - 1, atol=1e-6)


def test_parameter_counts():
    """As the published program has them."""
    generator = ScaleGenerator(ScaleArchitecture())
    shapes = jax.eval_shape(lambda: generator.init(jax.random.key(0), 10))
    assert generator.num_params(shapes) == 1_479_966
    for scale, count in ((0, 29_185), (4, 113_665), (9, 448_513)):
        critic = jax.eval_shape(lambda k=scale: generator.critic(k).init(jax.random.key(0)))
        assert sum(leaf.size for leaf in jax.tree.leaves(critic)) == count
    assert [generator.is_copied(i) for i in (0, 1, 3, 4, 5, 8)] == [
        *(False, True, True, False, True, False)
    ]


def _passed(key, channels=3):
    network = ScaleGenerator(ScaleArchitecture(num_filters=5, num_layers=1)).network(0)
    params, statistics = network.init(key)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(key, x.shape), params)
    x = jax.random.normal(key, (1, 12, 11, channels))
    return network, params, statistics, x


def test_a_pullback_by_the_same_parameters_is_the_gradient(key):
    network, params, _, x = _passed(key)
    made = network.train(params, x)
    arriving = jax.random.normal(key, made.result.shape)
    expected = jax.grad(lambda p: (network.train(p, x).result * arriving).sum())(params)
    found = network.pullback(params, made.inputs, arriving)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), found, expected)


def test_a_pullback_by_other_parameters_remembers_the_forward_pass(key):
    """What the forward pass left is old, the parameters on the way back are new."""
    network, old, _, x = _passed(key)
    new = jax.tree.map(lambda p: 1.5 * p + 0.1, old)
    made = network.train(old, x)
    arriving = jax.random.normal(key, made.result.shape)
    found = network.pullback(new, made.inputs, arriving)
    gradient = arriving * (1 - made.result**2)
    for number, name in reversed([*enumerate(["head", "block0", "tail"])]):
        given = made.inputs[4 * number]
        if name != "tail":
            conv_out, normal, before = made.inputs[4 * number + 1 : 4 * number + 4]
            gradient = jnp.where(before > 0, gradient, 0.2 * gradient)
            expected = {
                "scale": (gradient * normal).sum((0, 1, 2)),
                "bias": gradient.sum((0, 1, 2)),
            }
            for leaf, value in expected.items():
                np.testing.assert_allclose(found[name]["norm"][leaf], value, rtol=1e-3, atol=1e-3)
            deviation = jnp.sqrt(conv_out.var((1, 2), keepdims=True) + 1e-5)
            rest = gradient.mean((1, 2), keepdims=True)
            rest += normal * (gradient * normal).mean((1, 2), keepdims=True)
            gradient = new[name]["norm"]["scale"][None, None, None] / deviation * (gradient - rest)
        own, theirs = (
            (new[name], found[name])
            if name == "tail"
            else (
                new[name]["conv"],
                found[name]["conv"],
            )
        )

        def convolved(x, kernel):
            numbers = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "VALID", dimension_numbers=numbers
            )

        _, pull = jax.vjp(convolved, given, own["kernel"])
        gradient, of_kernel = pull(gradient)
        np.testing.assert_allclose(theirs["kernel"], of_kernel, rtol=1e-3, atol=1e-3)
    assert np.any(found["tail"]["bias"]) and not np.any(found["head"]["conv"]["bias"])


def test_running_statistics(key):
    network, params, statistics, x = _passed(key)
    both = jnp.concatenate([x, 2 * x])
    inputs = network.train(params, both).inputs
    moved = network.moved(statistics, inputs)["head"]
    first, second = np.asarray(inputs[1], np.float64)
    means = [image.mean((0, 1)) for image in (first, second)]
    np.testing.assert_allclose(moved["mean"], 0.09 * means[0] + 0.1 * means[1], atol=1e-5)
    variances = [image.var((0, 1), ddof=1) for image in (first, second)]
    expected = 0.81 + 0.09 * variances[0] + 0.1 * variances[1]
    np.testing.assert_allclose(moved["variance"], expected, rtol=1e-5)


def test_by_running_statistics_the_same_image_is_normalised_alike(key):
    """If they are those of the image itself, up to the unbiased variance."""
    network, params, statistics, x = _passed(key)
    made = network.train(params, x)
    for _ in range(200):
        statistics = network.moved(statistics, made.inputs)
    np.testing.assert_allclose(network(params, statistics, x), made.result, atol=0.02)


@pytest.mark.parametrize("noise_in_border", [False, True])
@pytest.mark.parametrize("sizes", [((10, 12), (14, 17), (20, 24)), ((9, 12), (15, 17), (24, 20))])
def test_a_window_is_the_part_of_the_whole(sizes, noise_in_border, key):
    """Also where an image from below is too small and is stretched (the second sizes)."""
    arch = ScaleArchitecture(
        num_filters=4,
        num_layers=1,
        factor=0.7,
        through_bytes=False,
        noise_in_border=noise_in_border,
    )
    generator = ScaleGenerator(arch)
    params, amps = generator.init(key, 3), jnp.ones(3)
    source = NoiseSource(noise.stage_keys(key, 3))

    def made(**where):
        view = generator.view(sizes, **where)
        return generator(params, source.draw(view.noise(arch)), amps, view)[0]

    whole = made()
    assert whole.shape == (*sizes[-1], 3)
    for top, left in ((0, 0), (3, 5), (sizes[-1][0] - 8, sizes[-1][1] - 9)):
        part = made(top=top, left=left, size=(8, 9))
        np.testing.assert_allclose(part, whole[top : top + 8, left : left + 9], atol=1e-5)


def test_operations():
    config = Config.create(method="singan", num_stages=1)
    arch = ScaleArchitecture()
    generator = 18 * (3 * 32 + 3 * 32 * 32 + 32 * 3)
    critic = 18 * (3 * 32 + 3 * 32 * 32 + 32)
    found = estimate.operations(config, arch, [(26, 34)])
    assert found == 26 * 34 * (32 * critic + 18 * generator)


# Runs.


def test_a_run(run, small):
    model = consingan_jax.load(run)
    assert model.finished and model.sizes == ((15, 20), (21, 28))
    assert model.config.num_stages == 2 and model.arch.factor == 15 / 21
    assert model.sample(0, 2, width="2.3x", height=17).shape == (2, 17, 64, 3)
    assert np.abs(model.sample(0)).max() <= 1
    assert model.reconstruct().shape == (1, 21, 28, 3)
    assert "of_stages" not in model.params and trainer.train(small, run).finished
    # The layout of z* below the start, other noise above.
    first, second = model.sample(0, start_stage=1), model.sample(1, start_stage=1)
    assert 0 < np.abs(first - second).mean() < np.abs(model.sample(0) - model.sample(1)).mean() + 1


def test_a_killed_run_ends_like_an_undisturbed_one(small, run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _kill_after(patch, 3)
        with pytest.raises(KilledError):
            trainer.train(small | {"checkpoint_minutes": 1e-9}, tmp_path / "run")
    assert not consingan_jax.load(tmp_path / "run").finished
    assert _equal(trainer.train(small, tmp_path / "run"), consingan_jax.load(run))


def test_runs_train_together_as_alone(small, run, tmp_path):
    configs = [Config.create(**small | {"seed": seed}) for seed in (0, 1)]
    together = trainer.train_together(configs, [tmp_path / "0", tmp_path / "1"])
    assert _equal(together[0], consingan_jax.load(run))
    assert not np.array_equal(together[1].sample(0), together[0].sample(0))


def test_runs_on_a_gpu_are_mapped_over():
    config = Config.create(**SMALL | {"num_stages": 2})
    arch = architecture(config, channels=3, sizes=[(15, 20), (21, 28)])
    program = iteration_of(config, arch, [(15, 20), (21, 28)])
    assert program == iteration_of(dataclasses.replace(config, seed=1), arch, program.sizes)
    one = (*compiler.shapes(program), jax.eval_shape(lambda: numerics.key(0)), np.int32(1))
    three = jax.tree.map(lambda x: jax.ShapeDtypeStruct((3, *np.shape(x)), x.dtype), one)
    state, metrics = jax.eval_shape(jax.vmap(program.run), *three)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (state, three[0])]
    assert shapes[0] == shapes[1]
    assert metrics["finite"].shape == metrics["reconstruction_rmse"].shape == (3,)


def test_z_star_is_that_of_the_last_iteration(run, small):
    model = consingan_jax.load(run)
    assert checkpoint.metadata(run / "model")["noise"]["num_stored"] == 1
    _, iteration_key = jax.random.split(jax.random.fold_in(numerics.key(0), 0))
    _, draw_key = jax.random.split(iteration_key)
    *_, key = jax.random.split(jax.random.fold_in(draw_key, small["num_iters"] - 1), 4)
    first = model.generator.view(model.sizes).noise(model.arch)[:1]
    drawn = NoiseSource(noise.stage_keys(key, 1)).draw(first)[0]
    np.testing.assert_array_equal(model.fixed.stored[0], drawn)


def test_images_of_any_size_in_tiles(run, monkeypatch, tmp_path):
    """But for values on the edge between two bytes, which may fall on the other side."""
    model = consingan_jax.load(run)
    whole = model.sample(3, height=90, width=70)[0]
    monkeypatch.setattr(sampling, "TILE", 32)
    assert sampling.renderer(model, 90, 70).tile == (32, 32)
    tiled = model.sample(3, height=90, width=70)[0]
    with pytest.raises(InputError, match="tile=both: SinGAN has no tiles"):
        model.sample(3, tile="both")
    differs = np.abs(tiled - whole) > 1e-4
    assert differs.mean() < 0.01 and np.abs(tiled - whole).max() < 0.05
    part = model.window(3, 20, 10, 40, 50, canvas=(90, 70))
    np.testing.assert_allclose(part, whole[20:60, 10:60], atol=0.05)
    lines = [
        *render.sample(model, str(tmp_path / "a.zarr"), seed=3, start_stage=0, height=90, width=70)
    ]
    assert "9 tiles of 32x32 px" in lines[0] and (tmp_path / "a.zarr.preview.png").exists()


def test_other_settings(small, tmp_path):
    """A grey animation model, without bytes and with one z*_0."""
    config = small | {"task": "animation", "channels": 1, "num_iters": 1}
    config |= {"resampling": "float", "z_star": "fixed"}
    inputs = load_inputs(Config.create(**config))
    assert not inputs.arch.through_bytes and inputs.levels[0].shape == (1, 15, 20, 1)
    model = trainer.train(config, tmp_path / "run")
    first = model.generator.view(model.sizes).noise(model.arch)[:1]
    drawn = NoiseSource(noise.stage_keys(noise.fixed_key(0), 1)).draw(first)[0]
    assert drawn.shape == (1, 15 + 6, 20 + 6, 1)  # the noise fills the border
    np.testing.assert_array_equal(model.fixed.stored[0], drawn)
    frames = [*model.animate(0, frames=3, width=40)]
    assert [frame.shape for frame in frames] == 3 * [(21, 40, 1)]
    assert np.abs(frames[0] - frames[2]).max() > 0


# Import.


class _Tensor:
    def __init__(self, array):
        self.array = np.asarray(array)

    def detach(self):
        """Returns itself."""
        return self

    def numpy(self):
        """Returns the array."""
        return self.array


def _planes(array):
    return _Tensor(np.asarray(array, np.float32).transpose(0, 3, 1, 2))


@pytest.fixture
def theirs(recording, tmp_path, monkeypatch):
    """A folder as the published program leaves it, of the recorded training."""
    files, data = {}, recording.data
    path = tmp_path / "TrainedModels/scene/scale_factor=0.750000,alpha=10"
    for i in recording.stages:
        (path / str(i)).mkdir(parents=True)
        (path / f"{i}/netG.pth").touch()
        prefix = f"stage{i}/final/G/"
        arrays = {n.removeprefix(prefix): data[n] for n in data if n.startswith(prefix)}
        files[f"{i}/netG.pth"] = {
            name: _Tensor(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)
            for name, array in arrays.items()
        }
    reals = [_planes(data[f"real_{i}"]) for i in recording.stages]
    first = np.repeat(data["stage0/z_opt"], 3, axis=3)  # the one channel, three times
    border = [
        np.zeros((1, real.array.shape[2] + 10, real.array.shape[3] + 10, 3)) for real in reals
    ]
    files |= {"reals.pth": reals, "Zs.pth": [_planes(z) for z in [first, *border[1:]]]}
    files["NoiseAmp.pth"] = [float(data[f"stage{i}/noise_amp"]) for i in recording.stages]
    (path / "Zs.pth").touch()
    monkeypatch.setattr(
        torch_import, "tensors", lambda file: files[file.relative_to(path).as_posix()]
    )
    return path


def test_a_published_model(theirs, recording, tmp_path, monkeypatch, capsys):
    model, levels = scale_import.load_run(theirs)
    noises = tuple(recording.array(f"sample_two/noise_{i}_0") for i in recording.stages)
    canvas = sampling.renderer(model)
    made = canvas.picture(NoiseSource(None, noises))
    expected = recording.data["sample_two/out_4_0"][0].clip(-1, 1)
    np.testing.assert_allclose(made, expected, atol=1e-4)
    z_star = recording.z_star(5)[0]
    np.testing.assert_array_equal(model.fixed.stored[0], z_star)
    assert model.arch == recording.arch and len(levels) == 5
    assert (model.config.min_size, model.config.image) == (16, "scene")
    monkeypatch.chdir(tmp_path)
    import_run.COMMAND.run("consingan import", [str(theirs), "--out=run"])
    assert "consingan sample run" in capsys.readouterr().out
    assert consingan_jax.load("run").sample(0).shape == (1, 32, 43, 3)


def test_a_published_model_of_super_resolution(theirs):
    other = theirs.with_name("scale_factor=0.793701,alpha=100")
    sizes = [(16, 22), (20, 27), (24, 32)]  # with numbers of levels rounded up there were four
    layers = {"head": {}, "block0": {}, "tail": {"kernel": np.zeros((3, 3, 8, 3))}}
    config = scale_import._config(other, sizes, layers, np.zeros((1, 26, 32, 1)))
    assert (config.task, config.min_size, config.rec_weight) == ("superres", 16, 100)


def test_a_published_model_with_a_scale_missing(theirs):
    (theirs / "3/netG.pth").unlink()
    with pytest.raises(InputError, match="is incomplete: scale 3 of 0-4 is missing"):
        scale_import.load_run(theirs)


# Refusals.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": "retarget"},
            "config.task=retarget: the method singan has the tasks generation and",
        ),
        ({"window": 64.0}, r"config.window=64.0: the method singan has none; leave it out"),
        ({"dtype": "bfloat16"}, "config.dtype=bfloat16: the method singan has none"),
        ({"num_stages": 5}, "config.num_stages=5: this image has 2 levels, by scale_factor 0.5"),
        ({"min_size": 30}, "config.min_size=30: the image has 30x40 px, which leaves no smaller"),
        ({"min_size": 5, "num_layers": 3}, "config.min_size=5: the coarsest level would be"),
        ({"method": "gan"}, "config.method='gan': give one of consingan, singan"),
        (
            {"method": "consingan", "num_stages": 0, "scale_factor": 0.75},
            "num_stages=0: give 1 or more",
        ),
        ({"method": "consingan"}, "config.scale_factor=0.5: the method consingan has none"),
    ],
)
def test_what_cannot_work(changes, message, small, tmp_path):
    with pytest.raises(InputError, match=message):
        trainer.train(Config.create(**small | changes), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_variant_is_the_methods_own():
    assert Config.create(variant="quick", method="singan").num_filters == 16
    with pytest.raises(InputError, match="has no variant 'fast': give quick or none"):
        Config.create(variant="fast", method="singan")
    assert dataclasses.replace(Config.create(), seed=1).method == "consingan"
    arch = architecture(Config.create(method="singan"), channels=3, sizes=[(26, 34), (188, 250)])
    assert arch.factor == 25 / 188
