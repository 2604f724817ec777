"""The picture at another width or height, its layout and borders kept (paper, section 4).

    python train.py --config=configs/retarget.py --config.image=PATH
    python sample.py --ckpt=runs/NAME-retarget --width=2x --num_samples=4

Like configs/unconditional.py, with zeros around every stage instead of generated content: the
borders stay the picture's borders. Choose this to change a format, and unconditional for variety.
Hours on a laptop CPU (`--dry_run` estimates it for your machine).

    python train.py --config=configs/retarget.py:quick

Four stages up to 128 px, as configs/unconditional.py:quick, in minutes on two CPU cores.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("retarget", image="examples/scene.png")
