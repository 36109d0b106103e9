"""From label maps to mIOU. Needs no MindSpore."""

from adl.scoring.confusion import Confusion as Confusion
