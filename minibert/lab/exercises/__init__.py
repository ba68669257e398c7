"""Exercises in backpropagation: `minibert exercise`.

catalogue.py   names, levels, hints
operators.py   what the exercises are about, and arguments to try
steps.py       backward passes in steps, to be fused
sources.py     a student's file, and its solution, from the reference's source
reading.py     a student's file, read: how much an answer does, what it takes from the package
judging.py     a file's functions against the complex step; telling.py, what went wrong, in words
training.py    a model that learns by a student's backward passes
running.py     the same in a process of its own, with a time limit; child.py, what runs there
progress.py    what a student has done, in progress.json
"""

from .catalogue import EXERCISES, LEVELS, Exercise, Limits
from .sources import hints, solution, solved, started

__all__ = ["EXERCISES", "LEVELS", "Exercise", "Limits", "hints", "solution", "solved", "started"]
