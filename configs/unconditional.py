"""New images of any size that look like one training image: the main job, as in the paper.

    python train.py --config=configs/unconditional.py --config.image=PATH

Six stages up to 250 px, 2000 iterations each: hours on a laptop CPU, minutes on a GPU
(`--dry_run` estimates it for your machine).

    python train.py --config=configs/unconditional.py:quick

The same job sized for a laptop CPU: four stages up to 64 px, 32 filters, 500 iterations each, in
about two minutes. Its samples are small new arrangements of the picture's content.
"""

import ml_collections

from configs import default


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """Returns the paper's configuration, or with `arg="quick"` one for a laptop CPU."""
    config = default.get_config()
    quick = {
        "num_stages": 4,
        "min_size": 16,
        "max_size": 64,
        "num_filters": 32,
        "num_iters": 500,
        "lr_generator": 1e-3,
        "lr_critic": 1e-3,
        "sample_every": 250,
    }
    return default.variant(config, arg, quick=quick)
