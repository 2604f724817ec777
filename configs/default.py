"""The paper's configuration of the task generation: the defaults of `consingan_jax.Config`.

`consingan train --fields` and docs/configuration.md list every field.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("generation", image="examples/scene.png")
