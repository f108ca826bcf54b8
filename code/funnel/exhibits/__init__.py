"""Figures that the reader takes hold of, as widgets: one class, and one script, each."""

from funnel.exhibits.base import MIME, Exhibit
from funnel.exhibits.centering import Centering
from funnel.exhibits.draws import Draws
from funnel.exhibits.hyperprior import Hyperprior
from funnel.exhibits.modes import Modes
from funnel.exhibits.sampler import Sampler
from funnel.exhibits.shrinkage import Shrinkage
from funnel.exhibits.typical_set import TypicalSet

__all__ = [
    "MIME",
    "Centering",
    "Draws",
    "Exhibit",
    "Hyperprior",
    "Modes",
    "Sampler",
    "Shrinkage",
    "TypicalSet",
]
