"""A trace as one HTML file: every tensor, its equation, its code, its check, and the arithmetic of every number."""

from .blocks import PageTooLarge
from .page import page, save_page
from .size import check_size

__all__ = ["PageTooLarge", "check_size", "page", "save_page"]
