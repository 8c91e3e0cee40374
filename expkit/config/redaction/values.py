"""Whether a value looks like a secret: known kinds of tokens, random characters, and what words and numbers are not."""

import re
from collections.abc import Sequence
from itertools import pairwise

from expkit.config.redaction.names import Level

SECRET = "<secret>"

# Tokens that say by their beginning what they are. detect-secrets knows a third of these, and costs an import of 0.3 s.
TOKENS = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|(?<![A-Za-z0-9])(?:"
    r"gh[pousr]_\w{16,}|github_pat_\w{20,}|gl[a-z]{2,10}-[\w.-]{16,}|hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}"
    r"|(?:sk|pk|rk)[-_][\w-]{16,}|xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|(?:AKIA|ASIA|ABIA|ACCA|AROA)[0-9A-Z]{16}"
    r"|AIza[\w-]{30,}|ya29\.[\w-]{16,}|GOCSPX-[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)*"
    r"|npm_[A-Za-z0-9]{16,}|pypi-[\w-]{16,}|dckr_[a-z]+_[\w-]{12,}|SG\.[\w-]{12,}\.[\w-]{12,}|key-[0-9a-zA-Z]{24,}"
    r"|do[opr]_v1_[0-9a-f]{16,}|shp[a-z]{2}_[0-9a-fA-F]{16,}|sq0[a-z]{3}-[\w-]{16,}|EAA[A-Za-z0-9]{20,}"
    r"|(?:bot)?\d{8,10}:AA[\w-]{30,}|rubygems_[0-9a-f]{20,}|lin_api_\w{20,}|ntn_\w{20,}|secret_[A-Za-z0-9]{20,}"
    r"|figd_[\w-]{16,}|PMAK-[\w-]{16,}|NRAK-\w{16,}|AGE-SECRET-KEY-1[0-9A-Z]{20,}|tskey-[\w-]{12,}|hv[sbr]\.[\w-]{16,}"
    r"|dp\.[a-z]{2,5}\.\w{16,}|pul-[0-9a-f]{16,}|rpa_\w{16,}|gsk_\w{16,}|r8_\w{16,}|nvapi-[\w-]{16,}|tgp_v1_[\w-]{16,}"
    r"|pplx-\w{16,}|xai-\w{16,}|fw_\w{16,}|CFPAT-[\w-]{16,}|AT[AC]TT3[\w=-]{16,}|ops_eyJ[\w-]{16,}|EZ[AT]K\w{16,}"
    r"|LTAI\w{12,}|AKCp\w{10,}|glc_eyJ[\w=-]{16,}|glsa_\w{16,}|dapi[0-9a-f]{32}|phc_\w{16,}|sntrys_[\w=+/-]{16,}"
    r"|shippo_\w+_[0-9a-f]{16,}|wandb_v1_\w{16,}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{16,}|sbp_[0-9a-f]{16,}|vercel_\w{16,}"
    r"|xkeysib-[\w-]{16,}|SK[0-9a-f]{32}(?![0-9a-f])|[MNO][A-Za-z\d_-]{23,25}\.[\w-]{6}\.[\w-]{27,})"
)
# A text that is only such a name says where a secret lies, and is none.
_NAMES = {"password", "passwd", "passphrase", "secret", "secrets", "token", "api_key", "apikey", "api-key", "x-api-key",
          "key", "credential", "credentials", "auth", "authorization", "access_token", "refresh_token", "client_secret",
          "private_key", "--password", "--token", "--api-key", "--secret"}  # fmt: skip
_RUN = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_=-]{16,256}(?![\w+/=-])")
_CHUNK = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_HEX = re.compile(r"[0-9a-fA-F-]+")  # digests of files and data are no secrets, and look like some
_WORDS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]{1,20}\d{0,4}|\d{1,8}[^\W\d_]{0,3}|")


def is_secret(value: str, level: Level) -> bool:
    """Return True if a whole value is to be left out; level: what its name says."""
    bare = value.strip()
    if not bare or re.fullmatch(r"\$?\{\{?[\w.:-]*\}?\}|\$\w+|<[\w -]*>|\*+|%s|%\(\w+\)s", bare):
        return False  # nothing, or a placeholder
    if bare.lower() in _NAMES or not (re.search(r"[^\W_]", bare) or len(bare) >= 6):
        return False
    if level == Level.CERTAIN:
        return bare.lower() not in ("none", "null", "true", "false")
    if level == Level.LIKELY:
        return len(bare) >= 4 and not _is_plain_word(bare)
    return len(bare) >= 6 and bare.isprintable() and not _is_plain(bare) if level == Level.PERHAPS else False


def _is_plain_word(value: str) -> bool:
    """Return True for one word of letters, a sentence, a file's path or a name such as HF_TOKEN."""
    if not re.search(r"[^\W_]", value) or re.fullmatch(
        r"[~./\w-]*/?[\w-]+\.(?:txt|json|ya?ml|toml|env|pem|key|cfg|ini)", value
    ):
        return True
    words = [word for word in re.split(r"[\s_.,:;!?()\[\]'\"<>/-]+", value) if word]
    return all(len(word) <= 14 and word.isalpha() and not _is_mixed(word) and not is_gibberish(word) for word in words)


def _is_mixed(word: str) -> bool:
    """Return True for letters whose case changes within the word otherwise than in camelCase."""
    return len(_CHUNK.findall(word)) > 1 + len(word) // 4


def _is_plain(value: str) -> bool:
    """Return True for words, numbers, paths, dates, names of models: values that are no secrets."""
    words = _WORDS.split(value)
    return all(_WORD.fullmatch(word) and not is_gibberish(word) for word in words) and not random_runs(value)


def is_gibberish(word: str) -> bool:
    """Return True for many letters that nobody could pronounce."""
    letters = "".join(filter(str.isalpha, word)).lower()
    if len(letters) < 7 or not letters.isascii():
        return False
    vowels = sum(letter in "aeiouy" for letter in letters)
    return vowels / len(letters) < 0.2 or max(map(len, re.split("[aeiouy]", letters))) > 5


def random_runs(text: str) -> list[tuple[int, int]]:
    """Return where runs of random characters lie that are secrets by themselves; digests in hex digits are none."""
    return [found.span() for found in _RUN.finditer(text) if _is_random(found[0])]


def _is_random(run: str) -> bool:
    if _HEX.fullmatch(run) or len(set(run)) < 10 or _has_alphabet(run):
        return False
    pieces = re.split(r"[^A-Za-z0-9]+", run)
    found = [piece for piece in pieces if len(piece) >= 5 and _is_random_piece(piece)]
    if any(re.fullmatch("[A-Z]?[a-z]{5,}", one) and not is_gibberish(one) for one in pieces):
        return any(len(one) >= 20 for one in found)  # ResNeXt101_32X8D_Weights
    return sum(map(len, found)) >= 14 or _is_all_mixed(run, pieces)


def _is_all_mixed(run: str, pieces: Sequence[str]) -> bool:
    """Return True for lower and upper case and digits that change in every piece, or 40 of them: an AWS secret key."""
    if not all(re.search(kind, run) for kind in ("[a-z]", "[A-Z]", r"\d")):
        return False
    if re.fullmatch(r"[A-Za-z0-9/+]{40}", run) and len(re.findall("[A-Z]", run)) >= 10:
        return True
    mixed = [piece for piece in pieces if len(piece) >= 4 and len(piece) / len(_CHUNK.findall(piece)) < 2.4]
    return sum(map(len, mixed)) >= max(18, 0.75 * sum(map(len, pieces)))


def _is_random_piece(piece: str) -> bool:
    if _HEX.fullmatch(piece):
        # As a part of something random.
        return len(piece) < 16 and bool(re.search(r"\d", piece) and re.search("[a-fA-F]", piece))
    chunks = _CHUNK.findall(piece)
    if not re.search(r"\d", piece):
        return len(piece) / len(chunks) < 2.2 or any(len(one) >= 12 and is_gibberish(one) for one in chunks)
    return len(piece) / len(chunks) < (2.7 if len(piece) < 20 else 3.1)


def _has_alphabet(run: str) -> bool:
    """Return True for a run in which characters stand in their order, as in a table of letters."""
    steps = [ord(after) - ord(before) for before, after in pairwise(run)]
    return sum(step == 1 for step in steps) > len(steps) / 3
