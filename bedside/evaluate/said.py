"""A sentence in both languages of the project: English for the terminal, either for a report."""

from typing import NamedTuple


class Said(NamedTuple):
    """The same words in English and in Chinese."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en
