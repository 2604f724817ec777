"""New images of any size that look like one training image: the main job, as in the paper.

    python train.py --config=configs/unconditional.py --config.image=PATH

Six stages up to 250 px, 2000 iterations each: hours on a laptop CPU (`--dry_run`
estimates it for your machine).

    python train.py --config=configs/unconditional.py:quick

The same job sized for a laptop CPU: four stages up to 64 px, 32 filters, 500 iterations each, in
about two minutes. Its samples are small new arrangements of the picture's content.

    python train.py --config=configs/unconditional.py:fast --config.image=PATH

The paper's size in less than a sixth of the published way's time: some 50 minutes on two cores.
Measured, and where it falls short: docs/performance.md.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("generation", image="examples/scene.png")
