"""Gives a pasted object the style of the image (paper, section 4).

    python train.py --config=configs/harmonization.py --config.image=PATH --config.naive=COMPOSITE
    python sample.py --ckpt=runs/NAME-harmonization --naive=COMPOSITE

Trains on the image alone, with changed colours and covered parts as input; `config.naive` only
shows the result for a composite at every log step. The second command writes the result. With a
mask (`COMPOSITE_mask` beside the composite, or --mask=FILE, auto, none) it also writes
`blended.png`, which differs from the composite only inside the mask.

For the best result on one composite, fine-tune the finished run, in half the time:

    python train.py --config=configs/harmonization.py --config.naive=COMPOSITE \\
        --config.fine_tune=runs/NAME-harmonization

Training takes an hour or two on a laptop CPU (`--dry_run` estimates the time on your machine).

    python train.py --config=configs/harmonization.py:quick

Trains three stages from 40 to 100 px, 32 filters, 300 iterations each, in a few minutes on two CPU
cores.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("harmonization", image="examples/scene.png")
