"""The small text-to-video teacher's tokenizer: CLIP's, with merges for the words of the small world's captions."""

import itertools
from typing import Any

from transformers import CLIPTokenizer

from vdmini_compress.world.captions import BACKGROUNDS, SPEEDS
from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, SHAPES

MAX_LENGTH = 24
"""Tokens per caption, start and end included; the longest caption of the world has 21."""

END = "</w>"


def world_words() -> list[str]:
    """Every word that occurs in a caption, in a fixed order."""
    named = itertools.chain(COLOURS, SHAPES, " ".join(DIRECTIONS).split(), SPEEDS, BACKGROUNDS)
    return list(dict.fromkeys([*named, "a", "moving", "on", "background"]))


def build_tokenizer() -> CLIPTokenizer:
    """A byte-pair tokenizer that knows the world's words.

    Most of them are one token; "green" and "background" are a few, since other words' merges come before theirs.
    Unknown words are spelled in pieces.
    """
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
    symbols = [*word[:-1], word[-1] + END]
    left = symbols[0]
    for right in symbols[1:]:
        if (left, right) not in merges:
            merges.append((left, right))
        left += right
        vocab.setdefault(left, len(vocab))
