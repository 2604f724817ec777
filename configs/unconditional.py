"""New images of any size that look like one training image: the main job, as in the paper.

    python train.py --config=configs/unconditional.py --config.image=PATH

Six stages up to 250 px, 2000 iterations each: hours on a laptop CPU (`--dry_run`
estimates it for your machine).

    python train.py --config=configs/unconditional.py:quick

A first picture on a laptop CPU: four stages up to 128 px, in a few minutes. Its
samples keep the picture's parts recognisable, in new arrangements.

    python train.py --config=configs/unconditional.py:fast --config.image=PATH

The paper's size in a sixth of the published way's time: 15 minutes on two fast cores, where the
published way takes 1.8 hours. Measured, and what it costs: docs/performance.md.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("generation", image="examples/scene.png")
