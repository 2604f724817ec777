"""A picture that was cut up and rearranged loses its seams (paper, section 4).

    python train.py --config=configs/editing.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-editing --naive=EDIT

Trains on the picture with tiles of it moved; the second call writes the edit, repaired, inside the
mask `EDIT_mask` beside it if there is one (or --mask=FILE, auto, none). `config.naive` and
`config.fine_tune` work as in configs/harmonization.py. Hours on a laptop CPU
(`--dry_run` estimates it for your machine).

    python train.py --config=configs/editing.py:quick

Four stages up to 64 px, 32 filters, 300 iterations each: about a minute on two CPU cores.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("editing", image="examples/scene.png")
