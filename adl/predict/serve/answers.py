"""What the endpoints answer. The OpenAPI document describes each field by the string below it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Problem(Answer):
    detail: str
    """One sentence for people: what is wrong, and what to do."""


class LabelClass(Answer):
    name: str
    train_id: int
    """The value that means this class in `train_ids`."""
    label_id: int
    """The value that means this class in `label_ids`."""
    colour: str
    """Of the data set's palette, as #rrggbb."""


class ClassShare(LabelClass):
    share: float
    """Of the picture's pixels, 0 to 1."""


class Preview(Answer):
    """The picture as the network saw it, upright, for a page to show: browsers cannot show every kind of file."""

    width: int
    height: int
    image: str
    """JPEG in base64."""
    train_ids: str
    """Grey PNG in base64, of the size of this image."""


class Prediction(Answer):
    width: int
    """Of the upright picture, in pixels."""
    height: int
    milliseconds: float
    """That the network took, with scaling to its size and back."""
    waited: float
    """Milliseconds in the queue before."""
    classes: list[ClassShare]
    """Those that occur in the picture, the largest first."""
    label_ids: str
    """Grey PNG in base64, of the size of the picture: the data set's label ids, as `adl predict` writes them."""
    train_ids: str
    """The same with train ids."""
    overlay: str | None = None
    """Only with `?overlay=true`: JPEG in base64, half the picture, half the palette's colours."""
    preview: Preview | None = None
    """Only with `?preview=true`."""


class Limits(Answer):
    bytes: int
    pixels: int
    side: int
    """Pixels."""


class Model(Answer):
    model: str
    """Name of the file."""
    trained_on: str
    """One sentence for people."""
    score: str | None
    """What `evaluate` found for its checkpoint; null: nothing."""
    dataset: str
    classes: list[LabelClass]
    """All that the model knows."""
    limits: Limits
    """Of a picture that is sent."""


class QueueState(Answer):
    waiting: int
    """Pictures whose turn has not come."""
    running: bool
    """Is the network at work?"""
    ahead: int | None = None
    """Pictures before the one with the ticket; null: it does not wait."""
