"""Every field of a configuration with the paper's defaults; the other files change what differs."""

from typing import Any

import ml_collections


def variant(
    config: ml_collections.ConfigDict, arg: str, *, quick: dict[str, Any]
) -> ml_collections.ConfigDict:
    """Returns a task's configuration as `arg` asks for it: as it is, or "quick", so changed."""
    if arg not in ("", "quick"):
        raise ValueError(f"this configuration takes ':quick' or nothing, not ':{arg}'")
    if arg:
        config.update(quick)
    return config


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """Returns the defaults; takes no variant."""
    if arg:
        raise ValueError(f"configs/default.py takes no variant, not ':{arg}'")
    config = ml_collections.ConfigDict()

    config.task = "generation"  # a row of consingan_jax/tasks.py
    config.image = "examples/scene.png"  # the one training image
    config.seed = 0  # every random draw of the run derives from it

    # A composite of the training image (harmonization, editing)
    config.naive = ""  # file to apply the model to at every log step, without training on it
    config.fine_tune = ""  # run to start from; then `naive` is what is trained on

    # The image
    config.channels = 0  # 1: grey, 3: colour, 0: as the file has it
    config.background = "white"  # colour that shows through transparent pixels

    # The pyramid
    config.num_stages = 6  # levels, and stages of the generator
    config.min_size = 25  # short side of the coarsest level, pixels
    config.max_size = 250  # longest side of the finest level, pixels
    config.pyramid_rule = "task"  # new, geometric, or what the task uses

    # The networks
    config.num_filters = 64  # features of every hidden layer
    config.num_layers = 3  # convolutions in a stage
    config.activation = "leaky_relu"  # leaky_relu, prelu, elu or selu
    config.negative_slope = 0.05  # slope of leaky_relu below zero
    config.batch_norm = False  # normalise in the generator

    # Training
    config.num_iters = 2000  # iterations of each stage
    config.train_depth = 3  # how many of the newest stages train at a time
    config.lr_scale = 0.1  # learning rate factor per stage of age: less is more diverse
    config.lr_generator = 5e-4
    config.lr_critic = 5e-4
    config.lr_decay = 0.1  # factor on both after 80 % of a stage's iterations
    config.beta1 = 0.5  # Adam's first-moment decay
    config.d_steps = 3  # critic steps per iteration
    config.g_steps = 3  # generator updates per iteration, on one gradient
    config.gp_weight = 0.1  # of the gradient penalty
    config.rec_weight = 10.0  # of the reconstruction loss
    config.noise_amp = 0.1  # noise of a new stage, relative to its error before training

    # What it takes
    config.dtype = "float32"  # of the convolutions; "bfloat16" is faster on a GPU
    config.remat = False  # keep less for the gradients and compute it again: slower, smaller

    # What a run leaves behind. Only these three and remat may change when a run is resumed.
    config.log_every = 50  # iterations between two lines of metrics
    config.sample_every = 500  # iterations between two sample grids of a stage
    config.checkpoint_minutes = 5.0  # most work that a killed run can lose

    return config
