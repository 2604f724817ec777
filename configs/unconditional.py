"""Makes new images of any size that look like one training image, as in the paper.

    python train.py --config=configs/unconditional.py --config.image=PATH

Trains six stages up to 250 px, 2000 iterations each, in hours on a laptop CPU (`--dry_run`
estimates the time on your machine).

    python train.py --config=configs/unconditional.py:quick

Trains four stages up to 128 px in a few minutes on a laptop CPU. The samples keep the image's parts
recognisable, in new arrangements.

    python train.py --config=configs/unconditional.py:fast --config.image=PATH

Trains at the paper's size in a seventh of the published time: 15 minutes on two fast cores, where a
PyTorch baseline of the published program takes 1.8 hours. Measurements and drawbacks:
docs/performance.md.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("generation", image="examples/scene.png")
