#!/usr/bin/env python3
"""Writes model/tokenizer/unicode_tables.cc and nfc_tables.cc.

    pip install tokenizers==0.23.3
    python3 tools/make_unicode_tables.py

Which characters are letters, and what NFC makes of them, is part of a tokenizer,
and depends on the version of Unicode. So both are asked of Hugging Face's
tokenizers themselves, code point by code point: their regular expressions, their
Digits and their NFC each have a version of their own. Of combining classes only
the order can be seen so; their numbers are Python's.
"""

import pathlib
import subprocess
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

FOLDER = pathlib.Path(__file__).parent.parent / "model" / "tokenizer"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
NFC = normalizers.NFC().normalize_str
NFD = normalizers.NFD().normalize_str
HEAD = """// Written by tools/make_unicode_tables.py from tokenizers %s; not edited.
#include "model/tokenizer/unicode_tables.h"

namespace ulpscope {

""" % tokenizers.__version__


def is_hangul(c):
    return 0xAC00 <= c < 0xD7A4


def ranges(members):
    """[[first, last]] of sorted code points."""
    out = []
    for c in members:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def matching(pattern):
    """What the regular expression of one character matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return [c for c in CODE_POINTS if not split.pre_tokenize_str(chr(c))]


def digits():
    """What Digits takes for one."""
    split = pre_tokenizers.Digits(individual_digits=True)
    return [
        c for c in CODE_POINTS if len(split.pre_tokenize_str("a" + chr(c))) == 2
    ]


def comes_after(c, mark):
    """Whether NFD sorts c after the mark: c's class is the greater one."""
    return NFD("a" + chr(c) + mark) == "a" + mark + chr(c)


def comes_before(c, mark):
    return NFD("a" + mark + chr(c)) == "a" + chr(c) + mark


def combining_classes():
    """{code point: class}, where it is not 0: between which marks NFD sorts it."""
    first, last = "\u0334", "\u0345"  # of the classes 1 and 240
    combining = [
        c
        for c in CODE_POINTS
        if NFD(chr(c)) == chr(c) and (comes_after(c, first) or comes_before(c, last))
    ]
    marks = {}  # one of each class
    for c in combining:
        marks.setdefault(unicodedata.combining(chr(c)), chr(c))
    assert 0 not in marks, "Python's Unicode is older than that of tokenizers"
    classes = {}
    for c in combining:
        kind = unicodedata.combining(chr(c))
        for other, mark in marks.items():
            assert comes_after(c, mark) == (other < kind or chr(c) == mark), hex(c)
            assert comes_before(c, mark) == (other > kind or chr(c) == mark), hex(c)
        classes[c] = kind
    return classes


def compositions():
    """[(code point, first, second)]: NFC puts the two together again."""
    out = []
    for c in CODE_POINTS:
        parts = NFD(chr(c))
        if parts == chr(c) or NFC(chr(c)) != chr(c) or is_hangul(c):
            continue
        first, second = NFC(parts[:-1]), parts[-1]
        assert len(first) == 1 and NFC(first + second) == chr(c), hex(c)
        out.append((c, ord(first), ord(second)))
    return out


def replacements():
    """{code point: what NFC has for it alone}, where that is another."""
    return {
        c: [ord(p) for p in NFC(chr(c))] for c in CODE_POINTS if NFC(chr(c)) != chr(c)
    }


def array(kind, name, values):
    text = ", ".join(v if isinstance(v, str) else f"{v:#x}" for v in values)
    return (
        f"const {kind} {name}[] = {{{text}}};\n"
        f"const size_t {name}Size = {len(values)};\n\n"
    )


def write(name, text):
    path = FOLDER / name
    path.write_text(HEAD + text.rstrip() + "\n\n}  // namespace ulpscope\n")
    subprocess.run(["clang-format", "-i", path], check=True)
    lines = path.read_text().count("\n")
    print(f"{name}: {lines} lines")
    assert lines <= 500


def flat(lists):
    return [value for part in lists for value in part]


def main():
    write(
        "unicode_tables.cc",
        "".join(
            array("uint32_t", name, flat(ranges(members)))
            for name, members in (
                ("kLetters", matching(r"\p{L}")),
                ("kNumbers", matching(r"\p{N}")),
                ("kSpaces", matching(r"\s")),
                ("kDigits", digits()),
            )
        ),
    )
    classes = combining_classes()
    by_class = []
    for kind in sorted(set(classes.values())):
        members = [c for c in sorted(classes) if classes[c] == kind]
        by_class += [[*pair, kind] for pair in ranges(members)]
    replaced = replacements()
    runs, targets = [], []
    for first, last in ranges([c for c in replaced if len(replaced[c]) == 1]):
        runs += [first, last]
        targets += flat(replaced[c] for c in range(first, last + 1))
    # Those of several code points, the length before them.
    several = flat(
        [c, len(parts), *parts] for c, parts in replaced.items() if len(parts) > 1
    )
    write(
        "nfc_tables.cc",
        array("uint32_t", "kCombiningClasses", flat(sorted(by_class)))
        + array("uint32_t", "kCompositions", flat(compositions())),
    )
    write(
        "nfc_replacements.cc",
        array("uint32_t", "kReplaced", runs)
        + array("uint32_t", "kReplacements", targets)
        + array("uint32_t", "kLongReplacements", several),
    )


if __name__ == "__main__":
    main()
