"""A pasted object takes on the picture's style (paper, section 4).

    python train.py --config=configs/harmonization.py --config.image=PATH --config.naive=COMPOSITE
    python sample.py --ckpt=runs/NAME-harmonization --naive=COMPOSITE

Trains on the picture alone, with changed colours and covered parts as input; `config.naive` only
shows the composite at every log step. The second call writes the result, inside the mask
`COMPOSITE_mask` beside it if there is one (or --mask=FILE, auto, none). Then, for the best result
on that very composite, in half the time:

    python train.py --config=configs/harmonization.py --config.naive=COMPOSITE \\
        --config.fine_tune=runs/NAME-harmonization

An hour or two on a laptop CPU (`--dry_run` estimates it for your machine).

    python train.py --config=configs/harmonization.py:quick

Three stages from 40 to 100 px, 32 filters, 300 iterations each: a few minutes on two CPU cores.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("harmonization", image="examples/scene.png")
