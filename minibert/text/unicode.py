"""Classes of characters: which code points the tokenizers call control, punctuation, mark, and how they fold them.

The published BERT tokenizers disagree about Unicode because they carry different editions of it:

* `FROZEN` is what Hugging Face's fast tokenizer sees. Its punctuation, control and mark classes come from a Rust crate
  that stopped at **Unicode 8**, its canonical decomposition and reordering from another that stopped at **Unicode 9**,
  its lower-casing from the Rust standard library (Unicode 17). Asking the running Python would be wrong twice:
  hundreds of code points differ, and every new Python would change the answer. So the old classes are written out
  below, measured code point by code point (`tools/compare_tokenizers.py` repeats the measurement over all 1 112 064 of
  them).
* `RUNNING` is the `unicodedata` of the Python that runs, which is what Google's code and Hugging Face's slow tokenizer
  use, so that those profiles answer as the originals do under the same Python (and change with it, as they do).

What still comes from the running Python under `FROZEN` are the decompositions and combining classes of characters of
Unicode 9 and older, and the lower case of those of Unicode 14 and older (Python 3.11): Unicode's stability policies
promise that these never change. The few later ones are listed here. Capitals that Unicode may add after version 17
would follow the running Python; no published vocabulary has a piece for them, so the word is [UNK] either way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["FROZEN", "RUNNING", "RUNNING_ANY_OTHER", "SURROGATE", "WHITESPACE", "Tables", "character_class"]


class Tables(NamedTuple):
    """One edition of Unicode, as predicates and functions of one character."""

    is_control: Callable[[str], bool]  # dropped by the cleaner; never true of tab, line feed, carriage return
    is_mark: Callable[[str], bool]  # category Mn: dropped when accents are stripped
    is_punctuation: Callable[[str], bool]  # a word of its own
    combining: Callable[[str], int]  # canonical combining class: marks of one run are sorted by it
    decompose: Callable[[str], str]  # full canonical decomposition (NFD) of this character alone
    lower: Callable[[str], str]  # lower case of this character alone: Σ gives σ even at the end of a word


def _characters(ranges: str) -> frozenset[str]:
    """The characters of "41-5A 61": hexadecimal code points and inclusive ranges, separated by white space."""
    found: set[str] = set()
    for item in ranges.split():
        first, _, last = item.partition("-")
        found.update(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return frozenset(found)


def character_class(characters: frozenset[str]) -> str:
    """The inside of a regular expression's [...] that matches exactly these characters, as few ranges."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


# Unicode's White_Space property, closed since Unicode 6.3 (Rust's `char::is_whitespace`). U+000B, U+000C and U+0085
# are control characters as well: a cleaned text has lost them, an uncleaned one is split there.
WHITESPACE = _characters("9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000")

# Half of a UTF-16 pair standing alone. Not a character: it cannot be written as UTF-8.
SURROGATE = re.compile("[\ud800-\udfff]")

# Categories Cc and Cf in Unicode 8 (U+180E still is one, U+08E2 and U+13430 are not yet), without the white space that
# the cleaner turns into blanks. Private use (Co) is added in `_is_control`, unassigned code points (Cn) are kept.
_CONTROL = _characters("""
    0-8 B-C E-1F 7F-9F AD 600-605 61C 6DD 70F 180E 200B-200F 202A-202E 2060-2064 2066-206F FEFF FFF9-FFFB 110BD
    1BCA0-1BCA3 1D173-1D17A E0001 E0020-E007F
""")
# Category P in Unicode 8, and the nine ASCII symbols $ + < = > ^ ` | ~ that BERT counts as punctuation.
_PUNCTUATION = _characters("""
    21-2F 3A-40 5B-60 7B-7E A1 A7 AB B6-B7 BB BF 37E 387 55A-55F 589-58A 5BE 5C0 5C3 5C6 5F3-5F4 609-60A 60C-60D 61B
    61E-61F 66A-66D 6D4 700-70D 7F7-7F9 830-83E 85E 964-965 970 AF0 DF4 E4F E5A-E5B F04-F12 F14 F3A-F3D F85 FD0-FD4
    FD9-FDA 104A-104F 10FB 1360-1368 1400 166D-166E 169B-169C 16EB-16ED 1735-1736 17D4-17D6 17D8-17DA 1800-180A
    1944-1945 1A1E-1A1F 1AA0-1AA6 1AA8-1AAD 1B5A-1B60 1BFC-1BFF 1C3B-1C3F 1C7E-1C7F 1CC0-1CC7 1CD3 2010-2027
    2030-2043 2045-2051 2053-205E 207D-207E 208D-208E 2308-230B 2329-232A 2768-2775 27C5-27C6 27E6-27EF 2983-2998
    29D8-29DB 29FC-29FD 2CF9-2CFC 2CFE-2CFF 2D70 2E00-2E2E 2E30-2E42 3001-3003 3008-3011 3014-301F 3030 303D 30A0
    30FB A4FE-A4FF A60D-A60F A673 A67E A6F2-A6F7 A874-A877 A8CE-A8CF A8F8-A8FA A8FC A92E-A92F A95F A9C1-A9CD
    A9DE-A9DF AA5C-AA5F AADE-AADF AAF0-AAF1 ABEB FD3E-FD3F FE10-FE19 FE30-FE52 FE54-FE61 FE63 FE68 FE6A-FE6B
    FF01-FF03 FF05-FF0A FF0C-FF0F FF1A-FF1B FF1F-FF20 FF3B-FF3D FF3F FF5B FF5D FF5F-FF65 10100-10102 1039F 103D0
    1056F 10857 1091F 1093F 10A50-10A58 10A7F 10AF0-10AF6 10B39-10B3F 10B99-10B9C 11047-1104D 110BB-110BC
    110BE-110C1 11140-11143 11174-11175 111C5-111C9 111CD 111DB 111DD-111DF 11238-1123D 112A9 114C6 115C1-115D7
    11641-11643 1173C-1173E 12470-12474 16A6E-16A6F 16AF5 16B37-16B3B 16B44 1BC9F 1DA87-1DA8B
""")
# Category Mn in Unicode 8.
_MARKS = _characters("""
    300-33F 342 345-36F 483-487 591-5BD 5BF 5C1-5C2 5C4-5C5 5C7 610-61A 64B-65F 670 6D6-6DC 6DF-6E4 6E7-6E8 6EA-6ED
    711 730-74A 7A6-7B0 7EB-7F3 816-819 81B-823 825-827 829-82D 859-85B 8E3-902 93A 93C 941-948 94D 951-957 962-963
    981 9BC 9C1-9C4 9CD 9E2-9E3 A01-A02 A3C A41-A42 A47-A48 A4B-A4D A51 A70-A71 A75 A81-A82 ABC AC1-AC5 AC7-AC8 ACD
    AE2-AE3 B01 B3C B3F B41-B44 B4D B56 B62-B63 B82 BC0 BCD C00 C3E-C40 C46-C47 C4A-C4D C55-C56 C62-C63 C81 CBC CBF
    CC6 CCC-CCD CE2-CE3 D01 D41-D44 D4D D62-D63 DCA DD2-DD4 DD6 E31 E34-E3A E47-E4E EB1 EB4-EB9 EBB-EBC EC8-ECD
    F18-F19 F35 F37 F39 F71-F72 F74 F77 F79-F7E F80 F82-F84 F86-F87 F8D-F92 F94-F97 F99-F9C F9E-FA1 FA3-FA6 FA8-FAB
    FAD-FB8 FBA-FBC FC6 102D-1030 1032-1037 1039-103A 103D-103E 1058-1059 105E-1060 1071-1074 1082 1085-1086 108D
    109D 135D-135F 1712-1714 1732-1734 1752-1753 1772-1773 17B4-17B5 17B7-17BD 17C6 17C9-17D3 17DD 180B-180D 18A9
    1920-1922 1927-1928 1932 1939-193B 1A17-1A18 1A1B 1A56 1A58-1A5E 1A60 1A62 1A65-1A6C 1A73-1A7C 1A7F 1AB0-1ABD
    1B00-1B03 1B34 1B36-1B3A 1B3C 1B42 1B6B-1B73 1B80-1B81 1BA2-1BA5 1BA8-1BA9 1BAB-1BAD 1BE6 1BE8-1BE9 1BED
    1BEF-1BF1 1C2C-1C33 1C36-1C37 1CD0-1CD2 1CD4-1CE0 1CE2-1CE8 1CED 1CF4 1CF8-1CF9 1DC0-1DF5 1DFC-1DFF 20D0-20DC
    20E1 20E5-20F0 2CEF-2CF1 2D7F 2DE0-2DFF 302A-302D 3099-309A A66F A674-A67D A69E-A69F A6F0-A6F1 A802 A806 A80B
    A825-A826 A8C4 A8E0-A8F1 A926-A92D A947-A951 A980-A982 A9B3 A9B6-A9B9 A9BC A9E5 AA29-AA2E AA31-AA32 AA35-AA36
    AA43 AA4C AA7C AAB0 AAB2-AAB4 AAB7-AAB8 AABE-AABF AAC1 AAEC-AAED AAF6 ABE5 ABE8 ABED FB1E FE00-FE0F FE20-FE2F
    101FD 102E0 10376-1037A 10A01-10A03 10A05-10A06 10A0C-10A0F 10A38-10A3A 10A3F 10AE5-10AE6 11001 11038-11046
    1107F-11081 110B3-110B6 110B9-110BA 11100-11102 11127-1112B 1112D 11130-11134 11173 11180-11181 111B6-111BE
    111CA-111CC 1122F-11231 11234 11236-11237 112DF 112E3-112EA 11300-11301 1133C 11340 11366-1136C 11370-11374
    114B3-114B8 114BA 114BF-114C0 114C2-114C3 115B2-115B5 115BC-115BD 115BF-115C0 115DC-115DD 11633-1163A 1163D
    1163F-11640 116AB 116AD 116B0-116B5 116B7 1171D-1171F 11722-11725 11727-1172B 16AF0-16AF4 16B30-16B36
    16F8F-16F92 1BC9D-1BC9E 1D167-1D169 1D17B-1D182 1D185-1D18B 1D1AA-1D1AD 1D242-1D244 1DA00-1DA36 1DA3B-1DA6C
    1DA75 1DA84 1DA9B-1DA9F 1DAA1-1DAAF 1E8D0-1E8D6 E0100-E01EF
""")
# Characters with a combining class in Unicode 9 that are not in the list above, so stripping keeps them: they are
# Mc, or Mn only since Unicode 9. They matter because sorting by class can move them before one another.
_OTHER_NONSTARTERS = _characters("""
    8D4-8E1 1B44 1BAA 1BF2-1BF3 1DFB 302E-302F A953 A9C0 111C0 11235 1134D 11442 11446 116B6 11C3F 1D165-1D166
    1D16D-1D172 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E944-1E94A
""")
# What a Python from 3.11 on decomposes and the Unicode 9 of the crate does not.
_LATER_DECOMPOSITIONS = _characters(
    "105C9 105E4 11383 11385 1138E 11391 113C5 113C7-113C8 11938 16121-16128 16D68-16D6A"
)

# Capitals of Unicode 15, 16 and 17, which the Rust library knows and Python 3.11 does not.
_LATER_LOWER = {
    "\u1c89": "\u1c8a",
    "\ua7cb": "\u0264",
    "\ua7cc": "\ua7cd",
    "\ua7ce": "\ua7cf",
    "\ua7d2": "\ua7d3",
    "\ua7d4": "\ua7d5",
    "\ua7da": "\ua7db",
    "\ua7dc": "\u019b",
    **{chr(capital): chr(capital + 0x20) for capital in range(0x10D50, 0x10D66)},  # Garay
    **{chr(capital): chr(capital + 0x1B) for capital in range(0x16EA0, 0x16EB9)},  # Beria Erfe
}


def _is_control(c: str) -> bool:
    return (
        c in _CONTROL
        or "\ue000" <= c <= "\uf8ff"
        or "\U000f0000" <= c <= "\U000ffffd"
        or "\U00100000" <= c <= "\U0010fffd"
    )


def _combining(c: str) -> int:
    return unicodedata.combining(c) if c in _MARKS or c in _OTHER_NONSTARTERS else 0


def _decompose(c: str) -> str:
    return c if c in _LATER_DECOMPOSITIONS else unicodedata.normalize("NFD", c)


def _lower(c: str) -> str:
    return _LATER_LOWER.get(c) or c.lower()


FROZEN = Tables(
    is_control=_is_control,
    is_mark=_MARKS.__contains__,
    is_punctuation=_PUNCTUATION.__contains__,
    combining=_combining,
    decompose=_decompose,
    lower=_lower,
)

_ASCII_SYMBOLS = frozenset("$+<=>^`|~")


def _control_of(*categories: str) -> Callable[[str], bool]:
    return lambda c: c not in "\t\n\r" and unicodedata.category(c) in categories


RUNNING = Tables(
    is_control=_control_of("Cc", "Cf"),
    is_mark=lambda c: unicodedata.category(c) == "Mn",
    is_punctuation=lambda c: unicodedata.category(c)[0] == "P" or c in _ASCII_SYMBOLS,
    combining=unicodedata.combining,
    decompose=lambda c: unicodedata.normalize("NFD", c),
    lower=str.lower,
)

# Hugging Face's slow tokenizer drops every category that begins with C: also private use and unassigned.
RUNNING_ANY_OTHER = RUNNING._replace(is_control=_control_of("Cc", "Cf", "Cn", "Co", "Cs"))
