"""BertTokenizer: the public door. Texts in, model inputs out, and back."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..errors import InputError, LoadError
from ..locate import locate
from . import files, saving
from .added import AddedToken, AddedTokens
from .arguments import Plan, plan, texts_of
from .batch import BatchEncoding, as_arrays, columns_of
from .casing import capitals
from .encoding import Encoding, Template
from .normalizer import Normalizer
from .padding import padded_lists, padded_size
from .pipeline import Pipeline, Tokens
from .profiles import profile_named
from .vocabulary import Vocabulary
from .wordpiece import WordPiece, split_words

__all__ = ["BertTokenizer"]

_NO_LIMIT = int(1e30)  # Hugging Face's way to write that a tokenizer knows no longest row


class BertTokenizer(Vocabulary):
    """BERT's tokenizer with the interface, the ids and the offsets of Hugging Face's fast one.

        tok = BertTokenizer.from_pretrained(folder)
        enc = tok("Hello, my dog is cute", return_tensors="np")
        enc.input_ids                          # (1, 8) int64: [[101, 7592, 1010, 2026, 3899, 2003, 10140, 102]]

    vocab: piece → id, or the pieces in the order of their ids; it must contain unk_token, cls_token and sep_token.
    do_lower_case, strip_accents (None: as do_lower_case), tokenize_chinese_chars, clean_text: see `Normalizer`.
    added_tokens: more tokens to find in the text; those that the vocabulary lacks get the next ids. model_max_length:
    the default of max_length. max_input_chars_per_word: longer words become unk_token; None: what the profile says.
    profile: "hf-fast", "hf-slow" or "google", whose differences `minibert.text.profiles` lists.

    Offsets count code points of the text as given. A lone surrogate, which is no character and which the reference
    rejects, counts as U+FFFD and is dropped by the cleaner. Time is linear in the text. Safe to share among threads
    and to pickle. Raises LoadError for an impossible vocabulary.
    """

    model_input_names: ClassVar[tuple[str, ...]] = ("input_ids", "token_type_ids", "attention_mask")

    def __init__(
        self,
        vocab: Mapping[str, int] | Sequence[str],
        *,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        clean_text: bool = True,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        added_tokens: Iterable[AddedToken | str | tuple[AddedToken, int | None]] = (),
        model_max_length: int = _NO_LIMIT,
        padding_side: str = "right",
        truncation_side: str = "right",
        continuing_subword_prefix: str = "##",
        max_input_chars_per_word: int | None = None,
        profile: str = "hf-fast",
    ) -> None:
        named = {
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        super().__init__(vocab, named, added_tokens, continuing_subword_prefix)
        self.profile = profile_named(profile)
        self.model_max_length = model_max_length
        self.padding_side = padding_side
        self.truncation_side = truncation_side
        self._max_word = max_input_chars_per_word or self.profile.max_word
        self._normalizer = Normalizer(
            self.profile,
            clean_text=clean_text,
            handle_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            lowercase=do_lower_case,
        )
        self._changed()

    # --- files ---------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], *, revision: str | None = None, **options: Any
    ) -> BertTokenizer:
        """The tokenizer of a folder, of a vocab.txt or tokenizer.json, of `pkg:NAME/sub/dir` in a package, or of
        org/name on the hub, there in a certain revision: a branch, a tag or a commit.

        options override what the files say, under the names of the constructor. Raises NotFound without a
        vocabulary, LoadError for a malformed file or one of another kind of tokenizer.
        """
        profile = profile_named(options.get("profile") or "hf-fast")
        place = locate(path, revision, parts=("tokenizer",))
        saved = files.read(place, profile)
        merged = {"added_tokens": saved.added, **saved.named, **saved.options, **options}
        if merged.get("profile", "hf-fast") != "hf-fast" and "max_input_chars_per_word" not in options:
            # tokenizer.json states the fast tokenizer's limit, not that of the profile asked for.
            merged.pop("max_input_chars_per_word", None)
        if "do_lower_case" not in merged and (cased := capitals(saved.vocab)):
            warnings.warn(
                f"{place}: nothing says whether to lower-case, so text is lower-cased, but {len(cased)} pieces have "
                f"capital letters, as {cased[0]!r}: a cased model needs do_lower_case=False",
                stacklevel=2,
            )
        try:
            return cls(saved.vocab, **merged)
        except LoadError as error:
            raise LoadError(f"{place}: {error.message}", error.hint) from None

    def save_pretrained(self, directory: str | os.PathLike[str]) -> list[str]:
        """Writes a folder that `from_pretrained`, here and in transformers, reads back. Returns the files' names."""
        normalizer = self._normalizer
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer.lowercase,
            "strip_accents": normalizer.strip_accents,
            "tokenize_chinese_chars": normalizer.handle_chinese_chars,
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            **self._named,
        }
        if self.profile.name != "hf-fast":
            config["minibert_profile"] = self.profile.name
        return [str(path) for path in saving.write(Path(directory), self._vocab, config, self._named, self._full())]

    # --- text to ids ---------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        split_special_tokens: bool = False,
    ) -> BatchEncoding:
        """Texts to model inputs.

        text: a string, or a list of strings (a batch); with is_split_into_words a list of words, or a list of those.
        text_pair: the second texts, in the same form. A list of (text, pair) tuples works, too.
        padding: False, True or "longest" (of the batch), "max_length". truncation: False, True or "longest_first",
        "only_first", "only_second"; None means False, or True if max_length is given and padding is not.
        max_length: tokens of a row, special ones included; default model_max_length. Without truncation a row may
        be longer than it: the model refuses what it cannot take. stride: tokens that windows overlap by, see
        return_overflowing_tokens, which adds the windows that truncation cut off as rows of their own, and
        overflow_to_sample_mapping, the index of the text each row is from.
        pad_to_multiple_of, padding_side ("right" or "left"), truncation_side: as they say.
        return_offsets_mapping adds offset_mapping, (first, one past the last) character of each token;
        return_special_tokens_mask and return_length add special_tokens_mask and length.
        return_tensors: None for lists, "np" for int64 arrays with a batch axis.
        split_special_tokens: a special token written in the text is ordinary text.

        A single text without return_tensors gives flat lists, anything else gives rows. As in the reference, an empty
        text_pair of a single text counts as none. Raises InputError for impossible arguments or types.
        """
        settings = plan(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side or self.padding_side,
            truncation_side=truncation_side or self.truncation_side,
            return_tensors=return_tensors,
            model_max_length=self.model_max_length,
            profile=self.profile,
        )
        pairs, batched = texts_of(text, text_pair, is_split_into_words)
        template = Template(self.cls_token_id, self.sep_token_id) if add_special_tokens else Template(None, None)
        rows: list[Encoding] = []
        samples: list[int] = []
        longest = 0
        for index, (first, second) in enumerate(pairs):
            new = template.rows(
                self._tokens(first, split_special_tokens),
                None if second is None else self._tokens(second, split_special_tokens),
                settings.truncation,
                return_overflowing_tokens,
            )
            rows += new
            samples += [index] * len(new)
            longest = max(longest, new[0].size)  # of the first windows, as in the reference; others are no longer
        rows = self._padded(rows, longest, settings)

        wanted = {
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
        }
        data = columns_of(rows, [name for name, yes in wanted.items() if yes])
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = samples
        if return_tensors:
            data = as_arrays(data)
        elif not batched and not return_overflowing_tokens:
            data = {name: value if name == "length" else value[0] for name, value in data.items()}
        return BatchEncoding(data, rows, self._to_tokens)

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> list[int]:
        """The ids of one text or pair; options as in a call."""
        ids: list[int] = self(text, text_pair, **options).input_ids
        return ids

    def plain_ids(self, text: str) -> list[int]:
        """The ids of one text alone, "[MASK]" and its like being ordinary text: what corpora are made of.

        encode(text, add_special_tokens=False, split_special_tokens=True), in a fraction of the time.
        """
        return self._pipeline.ids(text)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """The tokens of one text or pair as strings."""
        if not isinstance(text, str):
            raise InputError(f"tokenize: expected one text, got {type(text).__name__}")
        found = self(text, pair, add_special_tokens=add_special_tokens, **options).tokens(0)
        return [token for token in found if token is not None]

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool = True,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Pads rows that were made before: one row, a batch, or a list of rows. See `padded_lists`."""
        settings = plan(
            padding=padding,
            truncation=False,
            max_length=max_length,
            stride=0,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side or self.padding_side,
            truncation_side=self.truncation_side,
            return_tensors=return_tensors,
            model_max_length=self.model_max_length,
            profile=self.profile,
        )
        data, batched = padded_lists(
            encoded_inputs,
            strategy=settings.padding,
            max_length=settings.max_length,
            multiple=settings.multiple,
            side=settings.padding_side,
            pad_id=self._pad_id(settings),
            attention_mask=return_attention_mask,
        )
        if return_tensors:
            data = as_arrays(data if batched else {name: [value] for name, value in data.items()})
        return BatchEncoding(data)

    def words(self, text: str) -> list[str]:
        """The words of a text, cleaned and folded, before they become pieces: Google's BasicTokenizer."""
        folded = self._normalizer(text).text
        return [folded[start:end] for start, end in split_words(folded, self.profile.unicode.is_punctuation)]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Special tokens around one text (2) or a pair (3)."""
        return Template(self.cls_token_id, self.sep_token_id).added(pair)

    @property
    def fingerprint(self) -> str:
        """sha256 of all that decides which ids a text gets: the vocabulary, the added tokens and the options."""
        whole = json.dumps([self.profile.name, self._full()], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()

    # --- inside --------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        wordpiece = WordPiece(self._vocab, self.unk_token_id, self._prefix, self._max_word)
        added = AddedTokens(self._added.values(), lambda text: self._normalizer(text).text)
        self._pipeline = Pipeline(self._normalizer, wordpiece, added)

    def _full(self) -> dict[str, Any]:
        """The contents of tokenizer.json."""
        normalizer = self._normalizer
        return saving.tokenizer_json(
            self._vocab,
            added=list(self._added.values()),
            named=self._named,
            ids=self._ids,
            normalizer={
                "clean_text": normalizer.clean_text,
                "handle_chinese_chars": normalizer.handle_chinese_chars,
                "strip_accents": normalizer.strip_accents,
                "lowercase": normalizer.lowercase,
            },
            prefix=self._prefix,
            max_word=self._max_word,
        )

    def _tokens(self, text: str | list[str], split_special_tokens: bool) -> Tokens:
        if isinstance(text, str):
            return self._pipeline.tokens(text, split_special_tokens=split_special_tokens)
        return self._pipeline.pretokenized(text, split_special_tokens=split_special_tokens)

    def _padded(self, rows: list[Encoding], longest: int, settings: Plan) -> list[Encoding]:
        size = padded_size(settings.padding, longest, settings.max_length, settings.multiple)
        return [row.padded(size, self._pad_id(settings), settings.padding_side) for row in rows] if size else rows

    def _pad_id(self, settings: Plan) -> int:
        if self.pad_token_id is None and settings.padding != "do_not_pad":
            raise InputError("padding: this vocabulary has no pad token", "name one with pad_token=… when loading")
        return self.pad_token_id or 0

    @property
    def do_lower_case(self) -> bool:
        return self._normalizer.lowercase

    def __repr__(self) -> str:
        return f"BertTokenizer({len(self)} tokens, do_lower_case={self.do_lower_case}, profile={self.profile.name!r})"
