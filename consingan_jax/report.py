"""What a run would be and cost, in words: the dry run."""

from collections.abc import Mapping
from typing import Any

from consingan_jax import config as config_lib
from consingan_jax import device, estimate, trainer


def dry_run(config: Mapping[str, Any]) -> str:
    """Returns the pyramid, parameter counts, operations, memory and hours of a run.

    Compiles the top stage and times a large matmul; writes nothing.

    Raises:
        ValueError: the configuration or the image cannot work.
    """
    _, levels = trainer.prepare(config)
    sizes = [level.shape[1:3] for level in levels]
    arch = config_lib.architecture(config, channels=levels[0].shape[-1])
    operations = [estimate.operations(config, arch, sizes[: k + 1]) for k in range(len(sizes))]
    generator, critic = estimate.num_params(arch, len(sizes))
    memory = estimate.memory(config, arch, sizes) / 2**20
    total = config["num_iters"] * sum(operations)
    rate = device.matmul_flops()
    lines = [f"image: {config['image']}, {arch.channels} channels", "pyramid (height x width):"]
    for stage, ((height, width), count) in enumerate(zip(sizes, operations, strict=True)):
        lines.append(f"  stage {stage}: {height}x{width} px, {count / 1e9:.1f} GFLOP an iteration")
    return "\n".join(
        [
            *lines,
            f"parameters: generator {generator:,}, critic {critic:,}",
            f"memory of the last stage, as compiled: {memory:,.0f} MiB",
            f"operations of the whole run: {total / 1e12:,.1f} TFLOP",
            f"a large matmul makes {rate / 1e9:,.0f} GFLOP/s here; "
            f"at that rate: {total / rate / 3600:.2f} hours",
        ]
    )
