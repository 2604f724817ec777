"""A pasted object takes on the picture's style (paper, section 4).

    python train.py --config=configs/harmonization.py --config.image=PATH --config.naive=COMPOSITE
    python sample.py --ckpt=runs/NAME-harmonization --naive=COMPOSITE

Trains on the picture alone, with changed colours and covered parts as input; `config.naive` only
shows the composite at every log step. The second call writes the result, inside the mask
`COMPOSITE_mask` beside it if there is one (or --mask=FILE, auto, none). Then, for the best result
on that very composite, in half the time:

    python train.py --config=configs/harmonization.py --config.naive=COMPOSITE \\
        --config.fine_tune=runs/NAME-harmonization

An hour or two on a laptop CPU, minutes on a GPU (`--dry_run` estimates it for your machine).

    python train.py --config=configs/harmonization.py:quick

Three stages from 40 to 100 px, 32 filters, 300 iterations each: a few minutes on two CPU cores.
"""

import ml_collections

from configs import default


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """Returns the paper's configuration, or with `arg="quick"` one for a laptop CPU."""
    config = default.get_config()
    config.task = "harmonization"
    config.num_stages = 3
    config.min_size = 120
    config.num_iters = 1000
    config.negative_slope = 0.3
    config.batch_norm = True
    quick = {
        "min_size": 40,
        "max_size": 100,
        "num_filters": 32,
        "num_iters": 300,
        "sample_every": 150,
    }
    return default.variant(config, arg, quick=quick)
