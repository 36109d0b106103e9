"""What the endpoints answer, as the OpenAPI document describes it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Problem(BaseModel):
    detail: str = Field(description="One sentence for people: what is wrong, and what to do.")


class LabelClass(BaseModel):
    name: str
    train_id: int = Field(description="The value that means this class in `train_ids`.")
    label_id: int = Field(description="The value that means this class in `label_ids`.")
    colour: str = Field(description="Of the data set's palette, as #rrggbb.")


class ClassShare(LabelClass):
    share: float = Field(description="Of the picture's pixels, 0 to 1.")


class Preview(BaseModel):
    """The picture as the network saw it, upright, for a page to show: browsers cannot show every kind of file."""

    width: int
    height: int
    image: str = Field(description="JPEG in base64.")
    train_ids: str = Field(description="Grey PNG in base64, of the size of this image.")


class Prediction(BaseModel):
    width: int = Field(description="Of the upright picture, in pixels.")
    height: int
    milliseconds: float = Field(
        description="That the network took, with scaling to its size and back."
    )
    waited: float = Field(description="Milliseconds in the queue before.")
    classes: list[ClassShare] = Field(
        description="Those that occur in the picture, the largest first."
    )
    label_ids: str = Field(
        description="Grey PNG in base64, of the size of the picture: the data set's label ids, as `adl predict` writes "
        "them."
    )
    train_ids: str = Field(description="The same with train ids.")
    overlay: str | None = Field(
        None,
        description="Only with `?overlay=true`: JPEG in base64, half the picture, half the palette's colours.",
    )
    preview: Preview | None = Field(None, description="Only with `?preview=true`.")


class Limits(BaseModel):
    bytes: int
    pixels: int
    side: int = Field(description="Pixels.")


class Model(BaseModel):
    model: str = Field(description="Name of the file.")
    trained_on: str = Field(description="One sentence for people.")
    score: str | None = Field(
        description="What `evaluate` found for its checkpoint; null: nothing."
    )
    dataset: str
    classes: list[LabelClass] = Field(description="All that the model knows.")
    limits: Limits = Field(description="Of a picture that is sent.")


class QueueState(BaseModel):
    waiting: int = Field(description="Pictures whose turn has not come.")
    running: bool = Field(description="Is the network at work?")
    ahead: int | None = Field(
        None, description="Pictures before the one with the ticket; null: it does not wait."
    )


class Health(BaseModel):
    status: str = Field(description="`ok`: the model is loaded.")
