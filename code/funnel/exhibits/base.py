"""What all exhibits have in common: controls, a still picture, and two places to live.

An exhibit is a figure that the reader takes hold of. In JupyterLab it is a widget
whose controls are traits; on a page of the course the same script runs without a
kernel, with its data beside it. Both get the same description of the controls, so that
labels, units and ranges stand in one place: the Python class.
"""

from __future__ import annotations

import base64
import io
import json
import math
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets

from funnel.figures import use_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MIME", "Choice", "Exhibit", "Slider", "Switch", "rounded"]

#: What a cell of the book shows an exhibit as; `bookbuild.exhibits` turns it into a page's part.
MIME = "application/vnd.funnel.exhibit+json"

FOLDER = Path(__file__).parent


class Slider(traitlets.Float):
    """A number that the reader sets.

    Parameters
    ----------
    default, low, high : float
        In the unit of the control.
    label, unit : str
        What stands beside it; the unit may be empty.
    step : float, optional
        The smallest change, counted from `low`; a hundredth of the range if it is not given.
        A logarithmic control moves by a two-hundredth of its range.
    log : bool
        Equal steps are equal factors.

    Raises
    ------
    ValueError
        If the range is empty, or holds 0 or less on a log axis.
    traitlets.TraitError
        On setting a number outside the range, or none.
    """

    def __init__(
        self,
        default: float,
        low: float,
        high: float,
        *,
        label: str,
        unit: str = "",
        step: float | None = None,
        log: bool = False,
    ) -> None:
        if not low <= default <= high or low == high or (log and low <= 0):
            raise ValueError(f"{label}: {low} to {high} with default {default} is no range")
        super().__init__(default, min=low, max=high)
        self.tag(sync=True)
        self.control = {
            "kind": "slider", "label": label, "unit": unit, "low": low, "high": high,
            "step": step or (high - low) / 100, "log": log, "default": default,
        }  # fmt: skip

    def validate(self, obj: Any, value: Any) -> float:
        """Refuse what is not a finite number in the range."""
        value = super().validate(obj, value)
        if not math.isfinite(value):
            raise traitlets.TraitError(f"{self.name} must be a finite number, not {value}")
        return value


class Choice(traitlets.Unicode):
    """One of a few words.

    Parameters
    ----------
    options : dict, optional
        Value: label. Without it, the exhibit gives them when it is made, from its data.
    label : str
        What stands beside it.
    default : str, optional
        The first, if it is not given.

    Raises
    ------
    traitlets.TraitError
        On setting what is no option.
    """

    def __init__(
        self, options: dict[str, str] | None = None, *, label: str, default: str | None = None
    ) -> None:
        first = default or next(iter(options or {}), "")
        super().__init__(first)
        self.tag(sync=True)
        self.control = {"kind": "choice", "label": label, "options": options, "default": first}

    def validate(self, obj: Any, value: Any) -> str:
        """Refuse what is no option."""
        value = super().validate(obj, value)
        options = obj.controls[self.name]["options"]
        if value not in options:
            near = get_close_matches(value, options, n=3) or list(options)[:6]
            raise traitlets.TraitError(f"{self.name} cannot be {value!r}; try {', '.join(near)}")
        return value


class Switch(traitlets.Bool):
    """On or off.

    Parameters
    ----------
    label : str
        What stands beside it.
    default : bool
        At the start.
    """

    def __init__(self, *, label: str, default: bool = False) -> None:
        super().__init__(default)
        self.tag(sync=True)
        self.control = {"kind": "switch", "label": label, "default": default}


class Exhibit(anywidget.AnyWidget):
    """A figure that the reader takes hold of.

    A subclass names itself, gives its controls as :class:`Slider`, :class:`Choice` or
    :class:`Switch`, sets `data`, and draws :meth:`still`.

    Parameters
    ----------
    data : dict
        Everything that the script needs and cannot compute, ready for JSON.
    options : dict, optional
        Of each choice that depends on the data: value and label.
    **state
        Values of the controls to begin with.

    Raises
    ------
    TypeError
        If the exhibit has no such control.
    traitlets.TraitError
        If a value is outside its control's range.

    Attributes
    ----------
    result : str
        What the figure says at the moment, in words.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    data = traitlets.Dict().tag(sync=True)
    controls = traitlets.Dict().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    result = traitlets.Unicode().tag(sync=True)

    def __init_subclass__(cls, **options: Any) -> None:
        if "name" in vars(cls):  # widgets make subclasses of their own, for traits that they add
            cls._esm = (FOLDER / "bundles" / f"{cls.name}.js").read_text(encoding="utf-8")
            cls._css = (FOLDER / "exhibit.css").read_text(encoding="utf-8")
        super().__init_subclass__(**options)

    def __init__(
        self,
        data: dict[str, Any],
        options: dict[str, dict[str, str]] | None = None,
        **state: Any,
    ) -> None:
        # In the order of the class, which `self.traits()` does not keep.
        traits = {
            name: trait
            for cls in reversed(type(self).__mro__)
            for name, trait in vars(cls).items()
            if isinstance(trait, Slider | Choice | Switch)
        }
        if unknown := sorted(set(state) - set(traits)):
            has = ", ".join(traits) or "none"
            raise TypeError(f"{self.name} has no control {', '.join(unknown)}; it has {has}")
        controls = {name: dict(trait.control) for name, trait in traits.items()}
        for name, words in (options or {}).items():
            controls[name] |= {"options": words, "default": next(iter(words))}
        # What the reader comes back to is how the exhibit began.
        for name, control in controls.items():
            control["default"] = state.setdefault(name, control["default"])
        super().__init__(controls=controls, data=data, caption=self.title, **state)

    @property
    def state(self) -> dict[str, Any]:
        """The values of the controls."""
        return {name: getattr(self, name) for name in self.controls}

    def still(self) -> Figure:
        """Draw the picture for print, and for readers without scripts."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Show a widget in Jupyter, and in the book a part of the page."""
        shown = super()._repr_mimebundle_(**options)
        bundle, metadata = shown if isinstance(shown, tuple) else (shown or {}, {})
        use_style()
        file = io.BytesIO()
        self.still().savefig(file, format="png")
        description = {
            "caption": self.title,
            "controls": self.controls,
            "state": self.state,
            "data": self.data,
        }
        bundle[MIME] = {
            "exhibit": self.name,
            # As text: notebooks sort the names in what they keep, and the order of controls counts.
            "description": json.dumps(description, ensure_ascii=False, separators=(",", ":")),
            "still": base64.b64encode(file.getvalue()).decode(),
        }
        return bundle, metadata


def rounded(values: Any, digits: int = 5) -> Any:
    """Round numbers, lists or nested lists of them to significant digits, for a lighter page."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, list):
        return [rounded(value, digits) for value in values]
    if isinstance(values, float):
        return float(f"{values:.{digits}g}")
    return values
