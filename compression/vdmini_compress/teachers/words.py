"""The small text-to-video teacher's tokenizer: CLIP's, with merges for the words of the small world's captions."""

import itertools
from typing import Any

from transformers import CLIPTokenizer

from vdmini_compress.world.captions import BACKGROUNDS, SPEEDS
from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, SHAPES

MAX_LENGTH = 24
"""Tokens per caption, start and end included; the longest caption of the world has 13."""

END = "</w>"


def world_words() -> list[str]:
    """Every word that occurs in a caption, in a fixed order."""
    named = itertools.chain(COLOURS, SHAPES, " ".join(DIRECTIONS).split(), SPEEDS, BACKGROUNDS)
    return list(dict.fromkeys([*named, "a", "moving", "on", "background"]))


def build_tokenizer() -> CLIPTokenizer:
    """A byte-pair tokenizer that has one token for each of the world's words; others are spelled in pieces."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    vocab: dict[str, int] = {}
    for token in [*letters, *(letter + END for letter in letters)]:
        vocab.setdefault(token, len(vocab))
    merges: list[tuple[str, str]] = []
    for word in world_words():
        _add_word(word, vocab, merges)
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocab[token] = len(vocab)
    options: dict[str, Any] = {"vocab": vocab, "merges": merges, "model_max_length": MAX_LENGTH}
    return CLIPTokenizer(**options)


def _add_word(word: str, vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """Add what is still needed to make one token of the pieces that the merges so far leave of a word."""
    pieces = _merged([*word[:-1], word[-1] + END], merges)
    left = pieces[0]
    for right in pieces[1:]:
        merges.append((left, right))
        left += right
        vocab.setdefault(left, len(vocab))


def _merged(pieces: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Apply merges, the earliest first, as byte-pair encoding does."""
    for left, right in merges:
        place = 0
        while place < len(pieces) - 1:
            if (pieces[place], pieces[place + 1]) == (left, right):
                pieces[place : place + 2] = [left + right]
            place += 1
    return pieces
