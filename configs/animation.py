"""Animates one image: water moves, clouds drift, lightning strikes (paper, section 4).

    python train.py --config=configs/animation.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-animation --animate
    python sample.py --ckpt=runs/NAME-animation --animate --loop --out=film.webp

The first sample.py command writes the published set of twelve GIFs (four values of smoothness,
three of how much may move) and a contact sheet; the second writes one seamless loop. Training takes
hours on a laptop CPU (`--dry_run` estimates the time on your machine).

    python train.py --config=configs/animation.py:quick

Trains four stages up to 128 px, like configs/unconditional.py:quick, in minutes on two CPU cores.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("animation", image="examples/scene.png")
