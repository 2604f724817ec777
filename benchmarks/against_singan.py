"""Seconds of a whole training by SinGAN, by ConSinGAN and by `fast`, of one image, on one machine.

    python -m benchmarks.against_singan [--height=188 --width=250] [--seconds=20] [--with_baseline]

Measures an iteration of every scale or stage as `benchmarks.train_step` does: each method in a
process of its own, the methods taking turns, medians over the turns. A training is the sum over the
stages of these seconds times the iterations of the method's configuration, without compilation.
The flags --height, --width and --seconds are those of `benchmarks.train_step`; `--with_baseline`
adds the published way in PyTorch. ConSinGAN's paper has 152 and 24 minutes on a GTX 1080 Ti, 6.3
to 1.
"""

from absl import app, flags

from benchmarks import train_step
from consingan_jax import device

_WITH_BASELINE = flags.DEFINE_bool("with_baseline", False, "Measure the published way too.")

TITLES = {
    "singan": "SinGAN",
    "ours": "ConSinGAN, the paper's settings",
    "fast": "ConSinGAN, `fast`",
    "baseline": "ConSinGAN, published way",
}


def main(_):
    """Prints a line for each stage, then a table of the trainings."""
    size = (flags.FLAGS.height, flags.FLAGS.width)
    names = [name for name in TITLES if name != "baseline" or _WITH_BASELINE.value]
    programs = {name: train_step.programs(name, size) for name in names}
    totals = dict.fromkeys(names, 0.0)
    print(device.describe())
    for stage in range(max(map(len, programs.values()))):
        present = [name for name in names if stage < len(programs[name])]
        answers = train_step.measure(present, stage, flags.FLAGS.seconds, size)
        for name in present:
            program, seconds = programs[name][stage], answers[name]["seconds"]
            iterations = program.config.stage(stage).num_iters
            totals[name] += seconds * iterations
            height, width = program.sizes[-1]
            print(f"{name} {stage}, {height}x{width}: {seconds:.4f} s, x{iterations}", flush=True)
    print("\n| method | stages | a training, s | SinGAN / this |\n|---|---|---|---|")
    for name, total in totals.items():
        ratio = totals["singan"] / total
        print(f"| {TITLES[name]} | {len(programs[name])} | {total:,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    app.run(main)
