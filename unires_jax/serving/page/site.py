"""The page in the browser: gradio's components over a `Desk`.

What is seen are templates (`*.html`), dressed by page.css and moved by page.js; gradio
carries questions and answers. Inputs arrive unprocessed (`preprocess=False`): gradio
would open pictures with any decoder Pillow knows.
"""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from markupsafe import Markup

from unires_jax.errors import CheckpointError, DataError
from unires_jax.pages import template
from unires_jax.serving.page.desk import Desk, threshold_of
from unires_jax.serving.page.shelf import Shelf
from unires_jax.serving.page.visits import Visit

T = TypeVar("T")
HERE = Path(__file__).parent
AT_ONCE = 2  # questions given to the model (ours); more wait in the queue
SESSIONS = 256  # whose components gradio remembers (ours); its own default is 10,000
FORGOTTEN = "These answers are no longer kept: press Find again."
# The answers that show, which the slider asks about.
SHOWN_KEY = "(at) => [at, document.querySelector('.answers')?.dataset.key ?? '']"


class Page:
    """The components, and what they do. `blocks` is gradio's."""

    def __init__(self, desk: Desk, folder: Path, shelf: Shelf):
        self._desk, self._folder, self._shelf = desk, folder.resolve(), shelf
        first, text = shelf[0], shelf[0].text(True)
        opening = desk.open_with(first.path.read_bytes(), text)
        with gr.Blocks(title="UniRES", analytics_enabled=False) as self.blocks:
            gr.Markdown(_lead(desk), elem_classes="lead")
            with gr.Row(elem_id="desk"):
                with gr.Column(scale=4, min_width=300, elem_id="question"):
                    self._add_inputs(str(first.path), text)
                with gr.Column(scale=8, min_width=300, elem_id="result"):
                    self._add_outputs(self._show(opening, 0.5))
            gr.Markdown(_small_print(desk), elem_classes="small-print")
            self._wire()
        self.blocks.state_session_capacity = SESSIONS
        self.blocks.has_launched = True  # else gradio does not check files' paths
        self.blocks.queue(max_size=desk.limits.waiting, api_open=False)
        examples = shelf[0].path.parent.resolve()
        for block in self.blocks.blocks.values():
            _confine(block, (self._folder, examples))

    def _add_inputs(self, picture: str, text: str) -> None:
        # Programs hand their picture here; the page's visitors use the picker.
        self._picture = gr.Image(picture, type="filepath", visible=False)
        self._key = gr.Textbox(visible=False)
        self._picker = _live("picker", PICKER.render(limits=self._desk.limits))
        self._examples = _live("shelf", SHELF.render(examples=self._shelf))
        self._text = gr.Textbox(
            text,
            label="What to find, one sentence on each line",
            placeholder="the red car\nwheels of the truck",
            lines=1,  # with more, gradio takes Enter for a new line
            max_lines=8,
            elem_id="sentences",
        )
        self._find = gr.Button("Find", variant="primary", elem_id="find")
        gr.HTML(KEYS, js_on_load=None, apply_default_css=False, elem_id="keys")

    def _add_outputs(self, answers: str) -> None:
        self._answers = _live("answers", answers)
        self._threshold = gr.Slider(
            0.05,
            0.95,
            value=0.5,
            step=0.01,
            label="Threshold",
            info="Lower marks more. The model does not run again.",
            buttons=[],
            elem_id="threshold",
        )

    def _wire(self) -> None:
        asking: dict[str, Any] = {
            "preprocess": False,
            "concurrency_limit": AT_ONCE,
            "concurrency_id": "model",
            "show_progress_on": self._answers,
        }
        hidden: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
        question = [self._picture, self._text, self._threshold]
        everything = [self._picture, self._text, self._answers]
        self._find.click(self.ask, question, self._answers, api_name="find", **asking)
        self._text.submit(self.ask, question, self._answers, **(asking | hidden))
        self._picker.upload(self.take, self._text, everything, **(asking | hidden))
        self._examples.select(
            self.show_example, self._threshold, everything, **(asking | hidden)
        )
        self._answers.clear(self.clear, self._text, everything, **hidden)
        self._threshold.input(
            self.rethreshold,
            [self._threshold, self._key],
            self._answers,
            js=SHOWN_KEY,
            api_name="threshold",
            preprocess=False,
            trigger_mode="always_last",
            concurrency_limit=AT_ONCE,
            show_progress="hidden",
        )
        self.blocks.unload(self.leave)

    def ask(self, picture: Any, text: Any, threshold: Any, request: gr.Request) -> str:
        """The answers, as HTML, to a text about an uploaded picture."""

        def answers() -> str:
            at = threshold_of(threshold)  # before the model works
            visit = self._desk.ask(_session(request), self._read(picture), text)
            return self._show(visit, at)

        return _or_message(answers)

    def take(
        self, text: Any, event: gr.EventData, request: gr.Request
    ) -> tuple[Any, str, str]:
        """A visitor's new picture, which shows, and is read, at once."""

        def taken() -> tuple[Any, str, str]:
            picture = event._data
            visit = self._desk.look(_session(request), self._read(picture))
            return picture["path"], self._own(text), self._show(visit, 0.5)

        return _or_message(taken)

    def show_example(
        self, threshold: Any, event: gr.EventData, request: gr.Request
    ) -> tuple[str, str, str]:
        """An example's picture and text, and its answers."""

        def shown() -> tuple[str, str, str]:
            asked = event._data if isinstance(event._data, dict) else {}
            example = self._shelf.take(asked.get("example"))
            text, at = example.text(asked.get("parts")), threshold_of(threshold)
            picture = example.path.read_bytes()
            visit = self._desk.ask(_session(request), picture, text)
            return str(example.path), text, self._show(visit, at)

        return _or_message(shown)

    def clear(self, text: Any, request: gr.Request) -> tuple[None, str, str]:
        """The picture is removed, and with it all answers."""
        self.leave(request)
        return None, self._own(text), ANSWERS.render(key="", threshold="")

    def rethreshold(self, threshold: Any, key: Any) -> str:
        """The answers with this key, at another threshold; no model runs."""

        def answers() -> str:
            visit = self._desk.by_key(key)
            if visit is None:
                raise DataError(FORGOTTEN)
            return self._show(visit, threshold_of(threshold))

        return _or_message(answers)

    def leave(self, request: gr.Request) -> None:
        """Free what is kept of a session whose page was closed."""
        self._desk.leave(_session(request))

    def _own(self, text: Any) -> str:
        """A visitor's own text; an example's says nothing about another picture."""
        return text if isinstance(text, str) and not self._shelf.says(text) else ""

    def _show(self, visit: Visit, threshold: float) -> str:
        image = visit.image
        height, width = image.pixels.shape[:2]
        warnings = [image.note, image.unlike]
        return ANSWERS.render(
            key=visit.key,
            threshold=threshold,
            height=height,
            width=width,
            warnings=[x for x in warnings if x],
            unlike=bool(image.unlike),
            rows=self._desk.rows(visit, threshold),
        )

    def _read(self, picture: Any) -> bytes:
        """The bytes of an uploaded picture. Raises DataError for anything else."""
        if not picture:
            raise DataError("Choose a picture first.")
        path = picture.get("path") if isinstance(picture, dict) else None
        if not isinstance(path, str) or not _inside(path, (self._folder,)):
            raise DataError("Choose a picture from your device.")
        try:
            return Path(path).resolve().read_bytes()
        except OSError:
            raise DataError(
                "The picture is no longer kept here: upload it again."
            ) from None


def _live(name: str, value: str) -> gr.HTML:
    """A template that page.js moves: its function of this name is given the element."""
    return gr.HTML(
        value,
        elem_id=name,
        js_on_load=f"unires.{name}(element, trigger, upload, watch)",
        apply_default_css=False,
    )


def _or_message(answer: Callable[[], T]) -> T:
    """The answer; what is wrong with a question as a message on the page."""
    try:
        return answer()
    except (DataError, CheckpointError) as error:
        message = html.escape(str(error)[:500])
        raise gr.Error(message, print_exception=False) from None


def _session(request: gr.Request) -> str:
    if not request.session_hash:
        raise gr.Error("the request names no session", print_exception=False)
    return request.session_hash


def _confine(block: Any, folders: tuple[Path, ...]) -> None:
    """Let a component take files of these folders alone.

    gradio copies, or fetches, whatever file or address a request names before it asks
    the component; of a mounted app it checks nothing.
    """
    move = block.async_move_resource_to_block_cache

    async def move_file(path: str | Path | None) -> str | None:
        if path is not None and not _inside(str(path), folders):
            raise gr.Error("expected an uploaded file", print_exception=False)
        return await move(path)

    block.async_move_resource_to_block_cache = move_file


def _inside(path: str, folders: tuple[Path, ...]) -> bool:
    try:
        resolved = Path(path).resolve()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
    return any(resolved.is_relative_to(folder) for folder in folders)


def _text(text: str) -> Markup:
    """A visitor's text as HTML that neither browser nor gradio's templates read."""
    safe = html.escape(" ".join(text.split()))
    return Markup(safe.replace("{", "&#123;").replace("$", "&#36;"))


ANSWERS = template(HERE / "answers.html", plain=_text)
PICKER = template(HERE / "picker.html")
SHELF = template(HERE / "shelf.html")
KEYS = (
    '<p class="keys"><span class="typed"><kbd>Enter</kbd> finds, <kbd>Shift</kbd> + '
    "<kbd>Enter</kbd> starts a new line.</span></p>"
)


def _lead(desk: Desk) -> str:
    learned = desk.model.config.data.train
    limitation = (
        " This model has learned from **drawn scenes** like the examples alone."
        if learned and all(x.startswith("partworld") for x in learned)
        else ""
    )
    return (
        "# Find it by saying it\n"
        "Name whole objects (*the red car on the left*) or their parts (*wheels of "
        f"the truck*): each sentence gets its own mask.{limitation}"
    )


def _small_print(desk: Desk) -> str:
    about, limits = desk.model.about, desk.limits
    return (
        f"Model: {html.escape(str(about['name']))}. Pictures up to "
        f"{limits.file_bytes / (1 << 20):.3g} MB and {limits.pixels / 1e6:g} million "
        f"pixels, {limits.sentences} sentences at once. Pictures stay on this server; "
        "what is kept of yours is forgotten when you close the page, its file after "
        f"{limits.file_age / 60:.0f} minutes or when the server ends."
    )
