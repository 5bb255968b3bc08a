"""What can go wrong in the lab, told to its user."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot do what was asked; the text names the object and the remedy."""
