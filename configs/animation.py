"""A short film of one picture: water moves, clouds drift, lightning strikes (paper, section 4).

    python train.py --config=configs/animation.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-animation --animate
    python sample.py --ckpt=runs/NAME-animation --animate --loop --out=film.webp

The first sample.py call writes the published set of twelve (four kinds of smoothness, three of how
much may move) and a contact sheet; the second one seamless loop. Hours on a laptop CPU
(`--dry_run` estimates it for your machine).

    python train.py --config=configs/animation.py:quick

Four stages up to 128 px, as configs/unconditional.py:quick, in minutes on two CPU cores.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("animation", image="examples/scene.png")
