"""Trains SinGAN instead of ConSinGAN, for a comparison or for its own sake (arXiv 1905.01164).

    python train.py --config=configs/singan.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-singan --num_samples=8 --width=2x

As the published program does it, quirks included (docs/singan.md): some ten levels up to 250 px,
one at a time, 2000 iterations each. Training takes a day or two on a laptop CPU (`--dry_run`
estimates the time on your machine).

    python train.py --config=configs/singan.py:quick

Trains levels up to 100 px with 16 filters, 500 iterations each, for a first look.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("generation", method="singan", image="examples/scene.png")
