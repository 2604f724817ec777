"""Closes the seams of an image that was cut up and rearranged (paper, section 4).

    python train.py --config=configs/editing.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-editing --naive=EDIT

Trains on the image with some of its tiles moved. The second command writes the repaired edit. With
a mask (`EDIT_mask` beside the edit, or --mask=FILE, auto, none) it also writes `blended.png`, which
differs from the edit only inside the mask. `config.naive` and `config.fine_tune` work as in
configs/harmonization.py. Training takes hours on a laptop CPU (`--dry_run` estimates the time on
your machine).

    python train.py --config=configs/editing.py:quick

Trains four stages up to 64 px, 32 filters, 300 iterations each, in about a minute on two CPU cores.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("editing", image="examples/scene.png")
