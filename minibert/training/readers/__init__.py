"""Files -> examples. Whatever is wrong with a file is said with its name and line; nothing is dropped in silence.

files.py    a file's lines, and the fingerprint of files and options
tables.py   CSV, TSV, JSON lines -> texts and pairs with a class, a number or several classes; labels.py, their ids
conll.py    CoNLL's columns -> words and tags
squad.py    SQuAD's JSON -> questions about a text
choices.py  JSON lines -> texts with several endings
"""

from .choices import ChoiceExample, read_choices
from .conll import TaggedData, TaggedExample, read_conll
from .files import fingerprint
from .squad import Answer, QuestionData, QuestionExample, read_squad
from .tables import TextData, TextExample, column_names, read_table

__all__ = [
    "Answer",
    "ChoiceExample",
    "QuestionData",
    "QuestionExample",
    "TaggedData",
    "TaggedExample",
    "TextData",
    "TextExample",
    "column_names",
    "fingerprint",
    "read_choices",
    "read_conll",
    "read_squad",
    "read_table",
]
