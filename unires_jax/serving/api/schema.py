"""What the server is asked and what it answers, as JSON. OpenAPI is made of these."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from unires_jax.serving.api.settings import Settings

_DEFAULT = Settings()

Base64 = Annotated[
    str, Field(description="base64", json_schema_extra={"contentEncoding": "base64"})
]
Pixels = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class EncodeRequest(BaseModel):
    """A picture to look at once and to ask about later."""

    model_config = ConfigDict(extra="forbid")

    image: Base64 | None = Field(
        None, description="A picture's file: JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF."
    )


class SegmentRequest(EncodeRequest):
    """Sentences about one picture: `image`, or the `key` of an encoded one."""

    key: str | None = Field(
        None, max_length=100, description="Of a picture that was encoded."
    )
    sentences: list[str] = Field(
        min_length=1,
        description=f"What to mark; at most {_DEFAULT.sentences} (of the default "
        "settings).",
        examples=[["the truck", "wheels of the truck"]],
    )
    threshold: float = Field(
        0.5, gt=0, lt=1, description="Probability above which a pixel is marked."
    )
    masks: Literal["rle", "png", "none"] = Field(
        "rle", description="The form of masks: COCO's compressed RLE, or PNG of 0, 255."
    )
    keep: bool = Field(
        False, description="Keep the picture encoded; the answer holds its key."
    )


class ModelName(BaseModel):
    """Which model answered, and by which program."""

    name: str = Field(description="Of its config.")
    step: int | None = Field(description="The update its parameters are of.")
    revision: str = Field(description="Of the code that trained it; may be empty.")
    fingerprint: str = Field(description="Of its parameters: 16 hexadecimal digits.")
    version: str = Field(description="Of unires_jax, which serves it.")


class Rle(BaseModel):
    """COCO's compressed run-length encoding, as pycocotools reads it."""

    size: Annotated[list[Pixels], Field(min_length=2, max_length=2)] = Field(
        description="Height and width."
    )
    counts: str


class Answer(BaseModel):
    """What one sentence denotes in the picture."""

    expression: str
    score: Probability = Field(
        description="How sure the model is of the mask; 0 for an empty one."
    )
    calibrated: bool = Field(
        description="Whether the score is a measured probability that the mask is "
        "right; else it is the mean probability of its pixels, times that anything is "
        "meant."
    )
    no_target: bool = Field(
        description="The model holds that nothing is meant. The mask is not emptied."
    )
    no_target_probability: Probability | None = Field(
        description="null: the model was never trained on such sentences."
    )
    threshold: Probability
    box: Annotated[list[Pixels], Field(min_length=4, max_length=4)] = Field(
        description="x, y, width, height in pixels; zeros for an empty mask."
    )
    area: Pixels = Field(description="Pixels of the mask.")
    rle: Rle | None = Field(description="With `masks` rle.")
    png: Base64 | None = Field(description="With `masks` png, at the picture's size.")
    note: str = Field(description="Empty, or what one should know of the sentence.")


class Looked(BaseModel):
    """A picture as the model has seen it, upright."""

    model: ModelName
    height: Pixels
    width: Pixels
    warnings: list[str] = Field(
        description="What one should know of the picture: it was scaled down, or is "
        "unlike what the model was trained on."
    )


class EncodeAnswer(Looked):
    """An encoded picture, kept for a while."""

    key: str = Field(description="For `POST /v1/segment`.")
    expires_in: float = Field(
        description="Seconds after its last use. It may be forgotten sooner where "
        "others need the room."
    )


class SegmentAnswer(Looked):
    """The answers to the sentences, in their order."""

    key: str | None = Field(description="Of the picture, where it is kept.")
    answers: list[Answer]


class ModelAnswer(BaseModel):
    """The model and what this server takes."""

    model: ModelName
    image_size: int = Field(description="Side of the square the model sees, pixels.")
    trained_on: str = Field(description="Its training data in words; may be empty.")
    no_target_trained: bool
    max_file_bytes: int
    max_pixels: int
    max_sentences: int
    max_characters: int = Field(description="Of a sentence.")
    batch: int


class Health(BaseModel):
    """Whether the server answers."""

    status: Literal["starting", "ready", "ending"]
    model: ModelName


class ProblemAnswer(BaseModel):
    """Why there is no answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="In words, with the remedy.")
