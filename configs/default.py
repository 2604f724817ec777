"""The paper's configuration for the main job: the defaults of `consingan_jax.Config`.

`consingan train --fields` lists every field; docs/configuration.md has the same table.
"""

from consingan_jax.cli.flags import config_file

get_config = config_file("generation", image="examples/scene.png")
