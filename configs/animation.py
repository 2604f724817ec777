"""A short film of one picture: water moves, clouds drift, lightning strikes (paper, section 4).

    python train.py --config=configs/animation.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-animation --animate
    python sample.py --ckpt=runs/NAME-animation --animate --loop --out=film.webp

The first sample.py call writes the published set of twelve (four kinds of smoothness, three of how
much may move) and a contact sheet; the second one seamless loop. Hours on a laptop CPU, minutes on
a GPU (`--dry_run` estimates it for your machine).

    python train.py --config=configs/animation.py:quick

Four stages up to 64 px, 32 filters, 500 iterations each, in about two minutes on two CPU cores.
"""

import ml_collections

from configs import unconditional


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """Returns the paper's configuration, or with `arg="quick"` one for a laptop CPU."""
    config = unconditional.get_config(arg)
    config.task = "animation"
    if not arg:
        config.min_size = 20
    return config
