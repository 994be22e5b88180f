"""The page in the browser: gradio's components over a `Desk`.

Inputs arrive unprocessed (`preprocess=False`): gradio would open pictures with any
decoder Pillow knows.
"""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from markupsafe import Markup

from unires_jax.errors import CheckpointError, DataError
from unires_jax.pages import template
from unires_jax.serving.page.desk import Desk, threshold_of
from unires_jax.serving.page.visits import Visit

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"
SENTENCES = ("Whole objects", "Parts")  # of an example: its objects' or its parts'
AT_ONCE = 2  # questions given to the model (ours); more wait in the queue
SESSIONS = 256  # whose components gradio remembers (ours); its own default is 10,000
EMPTY = '<div class="empty">Your picture, with a coloured mask for each sentence</div>'


class Example(NamedTuple):
    """A picture that comes with the page, and sentences about it."""

    path: Path
    object: tuple[str, ...]
    part: tuple[str, ...]

    def text(self, sentences: Any) -> str:
        """Its sentences, those of one of SENTENCES, one a line."""
        return "\n".join(self.part if sentences == SENTENCES[1] else self.object)


def read_examples(folder: Path = EXAMPLES) -> list[Example]:
    """The examples of a folder (docs/examples.py writes it)."""
    listed = json.loads((folder / "examples.json").read_text())
    return [
        Example(folder / x["image"], tuple(x["object"]), tuple(x["part"]))
        for x in listed
    ]


class Page:
    """The components, and what they do. `blocks` is gradio's."""

    def __init__(self, desk: Desk, folder: Path, examples: list[Example]):
        self._desk, self._folder, self._examples = desk, folder.resolve(), examples
        with gr.Blocks(title="UniRES", analytics_enabled=False) as self.blocks:
            gr.Markdown(_lead(desk), elem_classes="lead")
            with gr.Row():
                with gr.Column(scale=5):
                    self._add_inputs()
                with gr.Column(scale=7):
                    self._add_outputs()
            gr.Markdown(_small_print(desk), elem_classes="small-print")
            self._wire()
        self.blocks.state_session_capacity = SESSIONS
        self.blocks.has_launched = True  # else gradio does not check files' paths
        self.blocks.queue(max_size=desk.limits.waiting, api_open=False)
        for block in self.blocks.blocks.values():
            _confine(block, (self._folder, EXAMPLES.resolve()))

    def _add_inputs(self) -> None:
        self._picture = gr.Image(
            label="Picture",
            type="filepath",
            sources=["upload", "clipboard"],
            height=250,
            buttons=[],
            elem_id="picture",
        )
        self._shelf = gr.Dataset(
            components=[gr.Image(visible=False)],
            samples=[[str(x.path)] for x in self._examples],
            type="index",
            label="or take an example",
            elem_id="examples",
        )
        self._sentences = gr.Radio(
            SENTENCES,
            value=SENTENCES[1],
            label="Sentences of examples",
            show_label=False,
            container=False,
            elem_id="level",
        )
        self._text = gr.Textbox(
            label="What to find, one sentence on each line",
            placeholder="the red car\nwheels of the truck",
            lines=3,
            max_lines=12,
            elem_id="sentences",
        )
        self._find = gr.Button("Find", variant="primary", elem_id="find")
        self._chosen = gr.Number(visible=False)

    def _add_outputs(self) -> None:
        self._answers = gr.HTML(
            EMPTY, elem_id="answers", js_on_load=None, apply_default_css=False
        )
        self._threshold = gr.Slider(
            0.05,
            0.95,
            value=0.5,
            step=0.01,
            label="Threshold",
            info="Lower marks more. The model does not run again.",
            elem_id="threshold",
        )

    def _wire(self) -> None:
        asking: dict[str, Any] = {
            "preprocess": False,
            "concurrency_limit": AT_ONCE,
            "concurrency_id": "model",
        }
        question = [self._picture, self._text, self._threshold]
        self._find.click(self.ask, question, self._answers, api_name="find", **asking)
        self._text.submit(
            self.ask, question, self._answers, api_visibility="private", **asking
        )
        self._shelf.click(
            self.show_example,
            [self._shelf, self._sentences, self._threshold],
            [self._picture, self._text, self._chosen, self._answers],
            api_visibility="private",
            **asking,
        )
        self._sentences.input(
            self.switch,
            [self._chosen, self._sentences, self._threshold],
            [self._text, self._answers],
            api_visibility="private",
            **asking,
        )
        self._threshold.input(
            self.rethreshold,
            self._threshold,
            self._answers,
            api_name="threshold",
            preprocess=False,
            trigger_mode="always_last",
            concurrency_limit=AT_ONCE,
            show_progress="hidden",
        )
        self._picture.input(
            None, None, self._chosen, js="() => null", api_visibility="private"
        )
        self.blocks.unload(self.leave)

    def ask(self, picture: Any, text: Any, threshold: Any, request: gr.Request) -> str:
        """The answers, as HTML, to a text about an uploaded picture."""
        return _or_message(
            lambda: self._answer(request, self._read(picture), text, threshold)
        )

    def show_example(
        self, index: Any, sentences: Any, threshold: Any, request: gr.Request
    ) -> tuple[str, str, int, str]:
        """An example's picture, text and number, and its answers."""
        example = self._example(index)
        text = example.text(sentences)
        answers = self._answer_example(example, text, threshold, request)
        return str(example.path), text, index, answers

    def switch(
        self, index: Any, sentences: Any, threshold: Any, request: gr.Request
    ) -> tuple[Any, Any]:
        """The other sentences of the example that shows, if one does."""
        if index is None:
            return gr.skip(), gr.skip()
        example = self._example(index)
        text = example.text(sentences)
        return text, self._answer_example(example, text, threshold, request)

    def rethreshold(self, threshold: Any, request: gr.Request) -> str:
        """The last answers with another threshold; no model runs."""
        return _or_message(
            lambda: self._show(self._desk.last_visit(_session(request)), threshold)
        )

    def leave(self, request: gr.Request) -> None:
        """Free what is kept of a session whose page was closed."""
        self._desk.leave(_session(request))

    def _example(self, index: Any) -> Example:
        numbers = range(len(self._examples))
        if not isinstance(index, int | float) or index not in numbers:
            raise gr.Error("there is no such example", print_exception=False)
        return self._examples[int(index)]

    def _answer_example(
        self, example: Example, text: str, threshold: Any, request: gr.Request
    ) -> str:
        data = example.path.read_bytes()
        return _or_message(lambda: self._answer(request, data, text, threshold))

    def _answer(
        self, request: gr.Request, picture: bytes, text: Any, threshold: Any
    ) -> str:
        threshold_of(threshold)  # before the model works
        return self._show(self._desk.ask(_session(request), picture, text), threshold)

    def _show(self, visit: Visit, threshold: Any) -> str:
        value = threshold_of(threshold)
        return TEMPLATE.render(
            key=visit.key,
            threshold=value,
            note=visit.image.note,
            rows=self._desk.rows(visit, value),
        )

    def _read(self, picture: Any) -> bytes:
        """The bytes of an uploaded picture. Raises DataError for anything else."""
        if not picture:
            raise DataError("Choose a picture first.")
        path = picture.get("path") if isinstance(picture, dict) else None
        if not isinstance(path, str) or not _inside(path, (self._folder,)):
            raise DataError("The picture is no uploaded file.")
        try:
            return Path(path).resolve().read_bytes()
        except OSError:
            raise DataError(
                "The picture is no longer kept here: upload it again."
            ) from None


def _or_message(answer: Callable[[], str]) -> str:
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


TEMPLATE = template(HERE / "answers.html", plain=_text)


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
