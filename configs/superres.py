"""Enlarges an image with details like its own (docs/tasks.md).

    python train.py --config=configs/superres.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-superres --scale=4

The second command writes the image enlarged, and beside it its bicubic interpolation; with
`--faithful` it shrinks to the image again. Images above `config.max_size` are shrunk to it first.
Training takes hours on a laptop CPU (`--dry_run` estimates the time on your machine).

    python train.py --config=configs/superres.py:quick

Trains three stages up to 100 px, 32 filters, 300 iterations each, for a first look.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("superres", image="examples/scene.png")
