"""Makes the image at another width or height, with its layout and borders (paper, section 4).

    python train.py --config=configs/retarget.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-retarget --width=2x --num_samples=4

Like configs/unconditional.py, but with zero padding at every stage instead of generated borders, so
that samples keep the image's borders. Use this to change the format, and unconditional for variety.
Training takes hours on a laptop CPU (`--dry_run` estimates the time on your machine).

    python train.py --config=configs/retarget.py:quick

Trains four stages up to 128 px, like configs/unconditional.py:quick, in minutes on two CPU cores.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("retarget", image="examples/scene.png")
