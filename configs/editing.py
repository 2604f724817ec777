"""A picture that was cut up and rearranged loses its seams (paper, section 4).

    python train.py --config=configs/editing.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-editing --naive=EDIT

Trains on the picture with tiles of it moved; the second call writes the edit, repaired, inside the
mask `EDIT_mask` beside it if there is one (or --mask=FILE, auto, none). `config.naive` and
`config.fine_tune` work as in configs/harmonization.py. Hours on a laptop CPU, minutes on a GPU
(`--dry_run` estimates it for your machine).

    python train.py --config=configs/editing.py:quick

Four stages up to 64 px, 32 filters, 300 iterations each: about a minute on two CPU cores.
"""

import ml_collections

from configs import default


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """Returns the paper's configuration, or with `arg="quick"` one for a laptop CPU."""
    config = default.get_config()
    config.task = "editing"
    config.num_iters = 1000
    config.batch_norm = True
    quick = {
        "num_stages": 4,
        "min_size": 16,
        "max_size": 64,
        "num_filters": 32,
        "num_iters": 300,
        "sample_every": 150,
    }
    return default.variant(config, arg, quick=quick)
