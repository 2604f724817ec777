"""Layout and callbacks of the studio page."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
import numpy as np
from gradio.events import Dependency

from consingan_jax.errors import InputError
from consingan_jax.studio.form import PAPER
from consingan_jax.studio.service import MOST_FRAMES, MOST_SAMPLES, StudioService
from consingan_jax.tasks import TASKS

SECONDS = 2  # between two updates of the progress
DAY = 86400  # seconds, after which the page's copies of files are deleted
TITLE = "consingan studio"
# No font and no script comes from elsewhere: the page works without a network.
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
# Small pictures are shown large.
CSS = "#grid img, #film img { width: 100%; height: 100%; object-fit: contain; }"
FILES = ["image", ".npy", ".tif", ".tiff", ".exr", ".hdr", ".dcm", ".heic"]  # to choose from
_SAVE: list[Any] = ["download", "fullscreen"]
_PICTURE: dict[str, Any] = {"interactive": False, "format": "png", "buttons": _SAVE}
_QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False}


def build(service: StudioService) -> gr.Blocks:
    """Returns the page of a service."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(DAY, DAY)) as page:
        gr.Markdown(f"# {TITLE}\nFrom one picture, new ones.")
        run = gr.Dropdown([], label="Run", elem_id="run")
        # Lists are filled at every load: they grow while the page is closed.
        page.load(lambda: _choices(service.names()), None, run)
        with gr.Tab("Train"), gr.Row():
            with gr.Column():
                begun = _form(service, page, run)
            with gr.Column(scale=2):
                _progress(service, run, begun)
        with gr.Tab("Sample"):
            _sample(service, run)
        with gr.Tab("Animate"):
            _animate(service, run)
        with gr.Tab("Composite"):
            _apply(service, run)
        with gr.Tab("Paint"):
            _paint(service, run)
        with gr.Tab("Download"):
            _download(service, run)
    return page


def _form(service: StudioService, page: gr.Blocks, run: gr.Dropdown) -> Dependency:
    """Adds what a training needs; returns the event that one was started."""
    upload = gr.UploadButton("Upload a picture", file_types=FILES, elem_id="upload")
    info = "Pictures that were uploaded here; a run keeps its own."
    picture = gr.Dropdown([], label="Picture to train on", info=info)
    preview = gr.Image(interactive=False, show_label=False, height=200, buttons=[])
    notes = gr.Markdown(elem_id="understood")
    task = gr.Dropdown(list(TASKS), label="Task", value="generation")
    preset = gr.Radio(_presets("generation"), label="Preset", value="quick")
    hint = "num_iters=1000\nmax_size=120"
    settings = gr.Textbox(label="Other settings", lines=2, placeholder=hint)
    button = gr.Button("Train", variant="primary", elem_id="train")
    asked = [picture, task, preset, settings]

    def keep(file: str) -> gr.Dropdown:
        name = service.pictures.keep(file)
        return _choices(service.pictures.names(), name)

    def show(name: str | None, *others: str) -> tuple[np.ndarray | None, str]:
        return service.preview(name, *others) if name else (None, "")

    def train(*asked: str) -> gr.Dropdown:
        name = service.train(*asked)
        return _choices([name, *service.names()], name)  # its directory may not be there yet

    upload.upload(_answer(keep), upload, picture)
    for changed in (picture.change, settings.blur):
        changed(_answer(show), asked, [preview, notes])
    task.change(lambda name: gr.Radio(_presets(name), value="quick"), task, preset, **_QUIET)
    page.load(lambda: _choices(service.pictures.names()), None, picture).then(
        _answer(show), asked, [preview, notes]
    )
    return button.click(_answer(train), asked, run)


def _progress(service: StudioService, run: gr.Dropdown, begun: Dependency) -> None:
    """Adds the progress of a run, which is updated after `begun` and at times."""
    words = gr.Markdown(elem_id="words")
    bar = gr.HTML()
    with gr.Row():
        stop = gr.Button("Stop", elem_id="stop")
        resume = gr.Button("Go on", elem_id="resume")
    title = "Training image and samples"
    grid = gr.Image(label=title, elem_id="grid", height=420, **_PICTURE)
    seen = gr.State()

    def look(name: str | None, before: str | None) -> tuple[Any, ...]:
        now = service.look(name)
        value = gr.skip() if now.samples == before else now.samples
        progress = f'<progress style="width:100%" max="1" value="{now.share:.4f}"></progress>'
        can_resume = not now.is_open and now.share < 1 and bool(now.words)
        buttons = gr.Button(interactive=now.is_open), gr.Button(interactive=can_resume)
        return now.words, progress, value, now.samples, *buttons

    outputs = [words, bar, grid, seen, stop, resume]
    for event in (begun.then, run.change, gr.Timer(SECONDS).tick):
        event(_answer(look), [run, seen], outputs, **_QUIET)
    stop.click(_answer(service.stop), run, None)
    resume.click(_answer(service.resume), run, None)


def _sample(service: StudioService, run: gr.Dropdown) -> None:
    with gr.Row():
        seed = gr.Number(0, label="Seed of the first", precision=0, minimum=0)
        number = gr.Slider(1, MOST_SAMPLES, value=4, step=1, label="How many")
        width, height = _lengths()
        start = gr.Number(0, label="Layout kept below stage", precision=0, minimum=0)
    button = gr.Button("Make images", variant="primary", elem_id="sample")
    gallery = gr.Gallery(
        label="Images", columns=4, object_fit="contain", buttons=_SAVE, elem_id="images"
    )

    def sample(
        name: str | None, seed: int, number: int, width: str, height: str, start: int
    ) -> list[tuple[str, str]]:
        size = {"width": width or None, "height": height or None}
        return service.sample(name, number, seed=seed, start_stage=start, **size)

    button.click(_answer(sample), [run, seed, number, width, height, start], gallery)


def _animate(service: StudioService, run: gr.Dropdown) -> None:
    with gr.Row():
        seed = gr.Number(0, label="Seed", precision=0, minimum=0)
        frames = gr.Slider(2, MOST_FRAMES, value=60, step=1, label="Frames")
        fps = gr.Slider(1, 30, value=10, step=1, label="Frames a second")
        start = gr.Number(1, label="Still below stage", precision=0, minimum=0)
    with gr.Row():
        alpha = gr.Slider(0, 1, value=0.1, label="Drawn to the picture (alpha)")
        beta = gr.Slider(0, 1, value=0.9, label="Smooth (beta)")
        loop = gr.Checkbox(True, label="Close the loop")
        suffix = gr.Radio([".webp", ".gif"], value=".webp", label="Format")
    with gr.Row():
        width, height = _lengths()
    button = gr.Button("Animate", variant="primary", elem_id="animate")
    film = gr.Image(label="Animation", elem_id="film", **_PICTURE)

    names = ("seed", "frames", "fps", "start_stage", "alpha", "beta", "loop", "suffix")
    fields = (seed, frames, fps, start, alpha, beta, loop, suffix)

    def animate(name: str | None, width: str, height: str, *values: Any) -> str:
        walk = dict(zip(names, values, strict=True))
        return service.animate(name, width=width or None, height=height or None, **walk)

    button.click(_answer(animate), [run, width, height, *fields], film)


def _apply(service: StudioService, run: gr.Dropdown) -> None:
    gr.Markdown(
        "For runs of the tasks harmonization and editing. Choose the composite and paint where the "
        "result shall count; without paint it counts everywhere."
    )
    upload = gr.UploadButton("Choose a composite", file_types=FILES, elem_id="choose")
    composite = gr.ImageEditor(
        label="Composite and mask",
        brush=gr.Brush(colors=[("#ff3d6e", 0.5)], color_mode="fixed"),
        sources=["clipboard"],  # a file is read by the button: of any depth, and by its profile
        transforms=[],
        layers=False,
        format="png",
        elem_id="composite",
    )
    seed = gr.Number(0, label="Seed", precision=0, minimum=0)
    button = gr.Button("Apply", variant="primary", elem_id="apply")
    words = gr.Markdown(elem_id="applied")
    results = gr.Gallery(label="Result; composite and result", columns=2, buttons=_SAVE)

    def apply(name: str | None, value: dict[str, Any] | None, seed: int) -> tuple[str, list[str]]:
        layers = [layer[..., 3] for layer in value["layers"]] if value else []
        painted = np.max(layers, axis=0) if layers else None
        return service.apply(name, value["background"] if value else None, painted, seed)

    upload.upload(_answer(service.view), [run, upload], composite)
    button.click(_answer(apply), [run, composite, seed], [words, results])


def _paint(service: StudioService, run: gr.Dropdown) -> None:
    gr.Markdown(
        "For runs of the task editing and of the method singan. Draw a picture, or drop one: it "
        "takes on the look of the training image. At a higher stage more of it is kept."
    )
    picture = gr.ImageEditor(
        label="Painting",
        sources=["upload", "clipboard"],
        transforms=[],
        layers=False,
        format="png",
        elem_id="painting",
    )
    with gr.Row():
        stage = gr.Slider(1, 2, value=1, step=1, label="Enters at stage", elem_id="stage")
        colours = gr.Slider(0, 16, value=0, step=1, label="Colours of the image (0: its own)")
        number = gr.Slider(1, MOST_SAMPLES, value=2, step=1, label="How many")
        seed = gr.Number(0, label="Seed of the first", precision=0, minimum=0)
    button = gr.Button("Paint", variant="primary", elem_id="paint")
    gallery = gr.Gallery(
        label="Painting and images",
        columns=4,
        object_fit="contain",
        buttons=_SAVE,
        elem_id="painted",
    )

    def stages(name: str | None) -> gr.Slider:
        found = service.start_stages(name) or range(1, 3)
        return gr.Slider(found[0], max(found[-1], found[0] + 1), value=found[0])

    def paint(
        name: str | None, value: dict[str, Any] | None, number: int, stage: int, *others: int
    ) -> list[tuple[str, str]]:
        drawn = value["composite"] if value else None
        asked = dict(zip(("colours", "seed"), others, strict=True))
        return service.paint(name, drawn, number, start_stage=stage, **asked)

    run.change(stages, run, stage, **_QUIET)
    button.click(_answer(paint), [run, picture, number, stage, colours, seed], gallery)


def _download(service: StudioService, run: gr.Dropdown) -> None:
    gr.Markdown(
        "A run's directory has its model, every picture that was made, `report.html` and a README "
        "that says what is what."
    )
    button = gr.Button("Pack the whole run", variant="primary", elem_id="pack")
    file = gr.File(label="Download", elem_id="file")
    button.click(_answer(service.archive), run, file)


def _lengths() -> tuple[gr.Textbox, gr.Textbox]:
    hint: dict[str, Any] = {"placeholder": "pixels, or a factor such as 2x"}
    return gr.Textbox(label="Width", **hint), gr.Textbox(label="Height", **hint)


def _presets(task: str) -> list[str]:
    return [*TASKS[task].variants, PAPER]


def _choices(names: Sequence[str], chosen: str | None = None) -> gr.Dropdown:
    """Returns an update of a list: one of its names is chosen, else the first."""
    names = list(dict.fromkeys(names))
    return gr.Dropdown(names, value=chosen or next(iter(names), None))


def _answer(function: Callable) -> Callable:
    """Returns a function whose error messages the page shows as they are."""

    @functools.wraps(function)
    def answered(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (InputError, FloatingPointError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    return answered
