"""The page in the browser: gradio's components over `Desks`.

What is seen are templates (`*.html`), dressed by page.css and moved by page.js; gradio
carries questions and answers. Inputs arrive unprocessed (`preprocess=False`): gradio
would open pictures with any decoder Pillow knows.
"""

import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from markupsafe import Markup

from unires_jax.errors import CheckpointError, DataError
from unires_jax.pages import template
from unires_jax.serving.page.desk import threshold_of
from unires_jax.serving.page.desks import Desks
from unires_jax.serving.page.shelf import Shelf
from unires_jax.serving.page.visits import Visit

T = TypeVar("T")
HERE = Path(__file__).parent
AT_ONCE = 2  # questions given to the model (ours); more wait in the queue
SESSIONS = 256  # whose components gradio remembers (ours); its own default is 10,000
FORGOTTEN = "These answers are no longer kept: press Find again."
# The answers that show, of each model, which the slider asks about.
SHOWN_KEYS = (
    "(at) => [at, [...document.querySelectorAll('.answers')]"
    ".map((x) => x.dataset.key).join()]"
)


class Page:
    """The components, and what they do. `blocks` is gradio's."""

    def __init__(self, desks: Desks, folder: Path, shelf: Shelf):
        self._desks, self._folder, self._shelf = desks, folder.resolve(), shelf
        self._several = len(desks.names) > 1
        first, text = shelf[0], shelf[0].text(True)
        visit = desks.first.open_with(first.path.read_bytes(), text)
        opening = self._show({desks.names[0]: visit}, 0.5)
        with gr.Blocks(title="UniRES", analytics_enabled=False) as self.blocks:
            gr.Markdown(_lead(desks), elem_classes="lead")
            with gr.Row(elem_id="desk"):
                with gr.Column(scale=4, min_width=300, elem_id="question"):
                    self._add_inputs(str(first.path), text)
                with gr.Column(scale=8, min_width=300, elem_id="result"):
                    self._add_outputs(opening)
            gr.Markdown(_small_print(desks), elem_classes="small-print")
            self._wire()
        self.blocks.state_session_capacity = SESSIONS
        self.blocks.has_launched = True  # else gradio does not check files' paths
        self.blocks.queue(max_size=desks.limits.waiting, api_open=False)
        examples = shelf[0].path.parent.resolve()
        for block in self.blocks.blocks.values():
            _confine(block, (self._folder, examples))

    def _add_inputs(self, picture: str, text: str) -> None:
        # Programs hand their picture here; the page's visitors use the picker.
        self._picture = gr.Image(picture, type="filepath", visible=False)
        self._key = gr.Textbox(visible=False)
        self._picker = _live("picker", PICKER.render(limits=self._desks.limits))
        self._examples = _live("shelf", SHELF.render(examples=self._shelf))
        self._text = gr.Textbox(
            text,
            label="What to find, one sentence on each line",
            placeholder="the red car\nwheels of the truck",
            lines=1,  # with more, gradio takes Enter for a new line
            max_lines=8,
            elem_id="sentences",
        )
        self._chosen: list[Any] = []  # the input that names models, where it is there
        if self._several:
            choice = gr.CheckboxGroup(
                list(self._desks.names),
                value=[self._desks.names[0]],
                label="Models",
                info="Take several to compare. A model is loaded when first chosen.",
                elem_id="models",
            )
            self._chosen.append(choice)
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
        question = [self._picture, self._text, self._threshold, *self._chosen]
        everything = [self._picture, self._text, self._answers]
        gr.on(
            [self._find.click, self._text.submit, *(x.input for x in self._chosen)],
            self.ask,
            question,
            self._answers,
            api_name="find",
            trigger_mode="always_last",  # what is asked meanwhile is answered next
            **asking,
        )
        self._picker.upload(
            self.take, [self._text, *self._chosen], everything, **(asking | hidden)
        )
        self._examples.select(
            self.show_example,
            [self._threshold, *self._chosen],
            everything,
            **(asking | hidden),
        )
        self._answers.clear(self.clear, self._text, everything, **hidden)
        self._threshold.input(
            self.rethreshold,
            [self._threshold, self._key],
            self._answers,
            js=SHOWN_KEYS,
            api_name="threshold",
            preprocess=False,
            trigger_mode="always_last",
            concurrency_limit=AT_ONCE,
            show_progress="hidden",
        )
        self.blocks.unload(self.leave)

    def ask(
        self,
        picture: Any,
        text: Any,
        threshold: Any,
        request: gr.Request,
        models: Any = None,
    ) -> str:
        """The answers, as HTML, to a text about an uploaded picture."""

        def answers() -> str:
            at = threshold_of(threshold)  # before the model works
            return self._answers_of(models, request, self._read(picture), text, at)

        return _or_message(answers)

    def take(
        self, text: Any, event: gr.EventData, request: gr.Request, models: Any = None
    ) -> tuple[Any, str, str]:
        """A visitor's new picture, which shows, and is read, at once."""

        def taken() -> tuple[Any, str, str]:
            picture, session = event._data, _session(request)
            data = self._read(picture)
            desks = self._desks.choose(models).items()
            visits = {name: desk.look(session, data) for name, desk in desks}
            return picture["path"], self._own(text), self._show(visits, 0.5)

        return _or_message(taken)

    def show_example(
        self,
        threshold: Any,
        event: gr.EventData,
        request: gr.Request,
        models: Any = None,
    ) -> tuple[str, str, str]:
        """An example's picture and text, and its answers."""

        def shown() -> tuple[str, str, str]:
            asked = event._data if isinstance(event._data, dict) else {}
            example = self._shelf.take(asked.get("example"))
            text, at = example.text(asked.get("parts")), threshold_of(threshold)
            picture = example.path.read_bytes()
            answers = self._answers_of(models, request, picture, text, at)
            return str(example.path), text, answers

        return _or_message(shown)

    def clear(self, text: Any, request: gr.Request) -> tuple[None, str, str]:
        """The picture is removed, and with it all answers."""
        self.leave(request)
        return None, self._own(text), ANSWERS.render(key="", threshold="", name="")

    def rethreshold(self, threshold: Any, key: Any) -> str:
        """The answers with this key (several: with commas), at another threshold.

        No model runs.
        """

        def answers() -> str:
            keys = key.split(",") if isinstance(key, str) else []
            kept = [self._desks.by_key(x) for x in keys[: len(self._desks.names)]]
            visits = dict(x for x in kept if x)
            if not visits or len(visits) < len(keys):
                raise DataError(FORGOTTEN)
            return self._show(visits, threshold_of(threshold))

        return _or_message(answers)

    def leave(self, request: gr.Request) -> None:
        """Free what is kept of a session whose page was closed."""
        self._desks.leave(_session(request))

    def _own(self, text: Any) -> str:
        """A visitor's own text; an example's says nothing about another picture."""
        return text if isinstance(text, str) and not self._shelf.says(text) else ""

    def _answers_of(
        self, models: Any, request: gr.Request, picture: bytes, text: Any, at: float
    ) -> str:
        """What each chosen model answers, as HTML."""
        session, desks = _session(request), self._desks.choose(models).items()
        visits = {name: desk.ask(session, picture, text) for name, desk in desks}
        return self._show(visits, at)

    def _show(self, visits: Mapping[str, Visit], threshold: float) -> str:
        """The answers of one model, or of several side by side."""
        sheets = [self._sheet(name, visits[name], threshold) for name in visits]
        if len(sheets) == 1:
            return sheets[0]
        return f'<div class="compared">{"".join(sheets)}</div>'

    def _sheet(self, name: str, visit: Visit, threshold: float) -> str:
        image, desk = visit.image, self._desks.take(name)
        height, width = image.pixels.shape[:2]
        warnings = [image.note, image.unlike]
        return ANSWERS.render(
            key=visit.key,
            threshold=threshold,
            name=name if self._several else "",
            trained_on=desk.model.trained_on,
            height=height,
            width=width,
            warnings=[x for x in warnings if x],
            unlike=bool(image.unlike),
            credit=self._shelf.credit_of(visit.digest),
            rows=desk.rows(visit, threshold),
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


def _lead(desks: Desks) -> str:
    learned = desks.first.model.config.data.train
    drawn = learned and all(x.startswith("partworld") for x in learned)
    limitation = (
        " This model has learned from **drawn scenes** alone, like the first examples."
        if drawn and len(desks.names) == 1
        else ""
    )
    return (
        "# Find it by saying it\n"
        "Name whole objects (*the red car on the left*) or their parts (*wheels of "
        f"the truck*): each sentence gets its own mask.{limitation}"
    )


def _small_print(desks: Desks) -> str:
    limits = desks.limits
    names = desks.names if len(desks.names) > 1 else [desks.first.model.about["name"]]
    models = html.escape(", ".join(map(str, names)))
    return (
        f"Model{'s' if len(desks.names) > 1 else ''}: {models}. Pictures up to "
        f"{limits.file_bytes / (1 << 20):.3g} MB and {limits.pixels / 1e6:g} million "
        f"pixels, {limits.sentences} sentences at once. Pictures stay on this server; "
        "what is kept of yours is forgotten when you close the page, its file after "
        f"{limits.file_age / 60:.0f} minutes or when the server ends."
    )
