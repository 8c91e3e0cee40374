"""The first sentence of a docstring, and what it says of an option; in plain text, for a terminal."""

import inspect
import re

_SENTENCE_ENDS = r"\.\s+(?=[A-Z`])"  # not the point of `et al. 2020`
_OPTION_BEGINS = r"\w+(?: ?\([^\n]*?\))? *:\s"  # `lr (float, optional): `, and `lr: `


def first_sentence(doc: str) -> str:
    """Return the first sentence as one line."""
    paragraph = inspect.cleandoc(doc).partition("\n\n")[0]
    return _plain(re.split(_SENTENCE_ENDS, paragraph, maxsplit=1)[0].rstrip("."), "." * bool(paragraph))


def about(doc: str, option: str) -> str:
    """Return the first sentence about an option, or "".

    An option begins a line, as in torch's `Args:`, or follows another one's `.` or `;`, as in this project.
    """
    text = inspect.cleandoc(doc)
    if not (found := re.search(rf"(?:^\s*|[.;] )(?={_OPTION_BEGINS}){option}\b.*?:\s+", text, re.M)):
        return ""
    ends = rf"\n\s*\n|\n\s*{_OPTION_BEGINS}|[.;]\s+{_OPTION_BEGINS}|{_SENTENCE_ENDS}"
    return _plain(re.split(ends, text[found.end() :], maxsplit=1)[0].strip().rstrip("."))


def _plain(text: str, end: str = "") -> str:
    """Return reStructuredText without its marks and line breaks."""
    text = re.sub(r"`([^`]*?) <[a-z]+://[^>]*>`_+", r"\1", " ".join(text.split()))  # a link
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?([^`<]*?)(?: ?<[^>]*>)?`", r"\1", text)  # :class:`~torch.Tensor`
    return re.sub(r"`+_*", "", text) + end
