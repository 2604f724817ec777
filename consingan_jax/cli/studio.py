"""`consingan studio`: serves the browser interface."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from consingan_jax import device
from consingan_jax.cli.flags import Command, Flags
from consingan_jax.cli.resolve_run import RUNS
from consingan_jax.errors import InputError

USAGE = """Opens the studio: train, sample, animate and apply in a browser.

  consingan studio [RUN ...]

Runs lie in --folder; those given by name are shown too. Only this machine can reach it unless
--host says otherwise: whoever reaches it can train, and read what lies in the folder. Ctrl-C ends
it; continue an interrupted training in the studio, or with `consingan train --workdir=RUN`.
Needs gradio: python -m pip install "gradio>=6"."""


def _define(flags: Flags, _: Sequence[str]) -> None:
    a, to = absl_flags, dict[str, Any](flag_values=flags)
    port: dict[str, Any] = {"lower_bound": 0, "upper_bound": 65535, **to}
    a.DEFINE_string("folder", str(RUNS), "Where runs and pictures lie.", **to)
    a.DEFINE_string("host", "127.0.0.1", "Address to listen on.", **to)
    a.DEFINE_integer("port", 7860, "Port to listen on; 0: any free one.", **port)
    a.DEFINE_string("root_path", "", "Path below which a proxy shows it.", **to)
    a.DEFINE_integer("max_upload", 50, "MiB, of a file.", lower_bound=1, **to)
    a.DEFINE_bool("browser", True, "Open it in the browser.", **to)


def _main(flags: Flags, runs: Sequence[str]) -> None:
    if importlib.util.find_spec("gradio") is None:
        raise InputError(
            'the studio needs gradio: python -m pip install "gradio>=6" (the extra studio)'
        )
    # Gradio reads both when it is imported, so they come before the import of the page.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("GRADIO_TEMP_DIR", os.path.join(flags.folder, ".cache"))
    device.use_compilation_cache(flags.compilation_cache)
    from consingan_jax.studio import page
    from consingan_jax.studio.service import StudioService

    service = StudioService(flags.folder, runs)
    try:
        studio = page.build(service)
        studio.launch(
            quiet=True,
            prevent_thread_lock=True,
            server_name=flags.host,
            server_port=flags.port or None,
            inbrowser=flags.browser,
            allowed_paths=[str(folder) for folder in service.folders],
            root_path=flags.root_path or None,
            max_file_size=flags.max_upload * 2**20,
            footer_links=[],
            theme=page.THEME,
            css=page.CSS,
            share=False,
            pwa=False,
            ssr_mode=False,
        )
        print(f"studio: {studio.local_url} (Ctrl-C ends it)", flush=True)
        studio.block_thread()
    except OSError as error:  # Gradio's own message names parameters of `launch`, not our flags
        raise InputError(
            f"--port={flags.port}: cannot listen on {flags.host} there, or the port is in use: use "
            "another --port, or --port=0 for any free one"
        ) from error


COMMAND = Command(USAGE, _define, _main)
