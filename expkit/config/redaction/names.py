"""Whether a name says that its value is secret, and how surely."""

import re
from enum import IntEnum
from functools import lru_cache


class Level(IntEnum):
    """How surely a value is secret, by the name that it belongs to.

    NONE: the name says nothing. PERHAPS: `key`, `auth_mode`. LIKELY: `hf_token`, `X_AUTH`: generated credentials.
    CERTAIN: `db_password`, `api_key`: whatever the value looks like.
    """

    NONE = 0
    PERHAPS = 1
    LIKELY = 2
    CERTAIN = 3


_CERTAIN = {
    "password", "passwords", "passwd", "passphrase", "passcode", "pwd", "pgpass", "userpass", "secret", "secrets",
    "credential", "credentials", "creds", "cred", "apikey", "apikeys", "authkey", "privkey", "accesskey", "secretkey",
    "authtoken", "apitoken", "accesstoken", "netrc", "passwort", "rootpw", "userpwd", "appkey", "sshkey", "pswd",
    "passw", "passwrd", "kennwort", "contraseña", "contrasena", "senha", "wachtwoord", "lösenord", "hasło", "heslo",
    "parola", "salasana", "пароль", "密码", "密碼", "口令", "密钥", "パスワード", "비밀번호",
}  # fmt: skip
_CERTAIN_AT_END = {"pass", "pw", "psk", "userpw", "pin", "pincode", "passe"}
_PASSES = {"forward", "backward", "first", "second", "one", "single", "multi", "two", "low", "high", "band", "all",
           "next", "each", "this", "per", "test", "train", "eval", "data", "render", "full", "last"}  # fmt: skip
# Of one word with what it is for: `PGPASSWORD`, `mypass`, `hftoken`; not `compass`, `padtoken`.
_CERTAIN_ENDS = ("password", "passwd", "passphrase", "passwort", "apikey", "secretkey", "secret", "credentials")
_PASS_PREFIXES = {
    "db", "pg", "my", "smtp", "ftp", "ssh", "user", "root", "admin", "mail", "sql", "mysql", "redis", "ldap",
}  # fmt: skip
_LIKELY = {"authorization", "bearer", "dsn", "jwt", "pat", "otp", "totp", "auth", "cookie", "cookies", "sas", "hmac"}
# `…_key` of these is a credential; `cache_key` or `sort_key` is not.
_KEYS = {
    "api", "access", "private", "priv", "secret", "ssh", "signing", "sign", "signature", "encryption", "encrypt",
    "decryption", "crypto", "master", "auth", "account", "license", "licence", "storage", "deploy", "deployment",
    "session", "client", "service", "webhook", "rsa", "dsa", "ed25519", "gpg", "pgp", "aes", "hmac", "jwt", "shared",
    "subscription", "app", "application", "consumer", "admin", "root", "wandb", "openai", "anthropic", "hf", "aws",
    "gcp", "azure", "google", "github", "gitlab", "stripe", "sendgrid", "mailgun", "datadog", "dd", "comet", "neptune",
    "security", "fernet", "tls", "ssl", "wireguard", "wg", "vpn", "wifi", "wpa", "registry", "bot", "user", "project",
}  # fmt: skip
# `…_token` of these is a mark in a text, as models of language have them.
_MARKS = {
    "cls", "class", "pad", "padding", "eos", "bos", "unk", "unknown", "mask", "sep", "special", "start", "end", "next",
    "stop", "begin", "first", "last", "prefix", "suffix", "image", "img", "text", "word", "patch", "dist", "register",
    "reg", "prev", "previous", "current", "extra", "additional", "added", "new", "null", "empty", "sub", "separator",
    "distillation", "query", "time", "position", "pos", "global", "local", "sos", "lexer", "syntax", "comment",
}  # fmt: skip
# What a name speaks about after the secret's own word: `password_field` holds no password.
_ABOUT = {
    "field", "label", "prompt", "file", "filename", "path", "dir", "folder", "url", "uri", "length", "len", "policy",
    "hint", "name", "column", "env", "var", "variable", "format", "placeholder", "help", "regex", "pattern", "min",
    "max", "size", "count", "type", "kind", "mode", "method", "scheme", "id", "index", "embedding", "embeddings",
    "dim", "required", "enabled", "expires", "expiry", "ttl", "timeout", "rotation", "manager", "backend", "provider",
    "strength", "error", "message", "msg", "doc", "title", "text", "sock", "sampler", "level", "hash", "sha", "sha256",
    "cli", "app", "parser", "group", "command", "callback", "router", "module", "schema", "validator", "generator",
    "helper", "helpers", "util", "utils", "factory", "service", "layer", "head", "loss",
}  # fmt: skip
# Of a `token` these say only which one or where it holds.
_TOKEN_TAILS = {
    "value", "str", "string", "prod", "production", "dev", "staging", "test", "live", "raw", "default", "b64",
}  # fmt: skip
_DIGESTS = {"sha", "sha1", "sha256", "md5", "hash", "digest", "checksum", "fingerprint", "commit", "rev", "revision",
            "etag", "version", "cache", "sort", "dict", "group", "primary", "foreign", "partition"}  # fmt: skip


@lru_cache(4096)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in any of the usual spellings: `X-Api-Key`, `apiKey`, `api_key2` -> x, api, key."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    found = (word.rstrip("0123456789") or word for word in re.findall(r"[^\W_]+", spaced.lower()))
    return tuple(word for word in found if not word.isdigit())


@lru_cache(4096)
def level_of(name: str) -> Level:
    """Return how surely a variable, key, option, header or environment variable of this name holds a secret."""
    words = words_of(name)
    if not words or len(name) > 100:
        return Level.NONE
    level = max(_level_of_word(words, place) for place in range(len(words)))
    return Level.PERHAPS if level and words[-1] in _ABOUT else level


def _level_of_word(words: tuple[str, ...], place: int) -> Level:
    word, before, is_last = words[place], words[place - 1] if place else "", place == len(words) - 1
    tail = set(words[place + 1 :])
    if word == "pass" and before in _PASSES:
        return Level.NONE
    if word in _CERTAIN or word.endswith(_CERTAIN_ENDS) or (word in _CERTAIN_AT_END and is_last):
        return Level.CERTAIN
    if word.endswith("pass") and word.removesuffix("pass") in _PASS_PREFIXES:
        return Level.CERTAIN
    if word.endswith("token") and word != "token" and is_last:
        return Level.NONE if word.removesuffix("token") in _MARKS else Level.LIKELY
    if word in ("key", "keys") and before in _KEYS:
        return Level.CERTAIN
    if word == "hash" and before == "api":  # Telegram's
        return Level.CERTAIN
    if word in ("string", "str", "uri", "url") and before in ("connection", "conn", "connect", "database", "db"):
        return Level.LIKELY
    if word == "phrase" and before in ("pass", "seed", "recovery", "mnemonic"):
        return Level.CERTAIN
    if word == "token" and tail <= _TOKEN_TAILS:
        return Level.NONE if before in _MARKS else Level.LIKELY
    if word == "tokens" and is_last and before in {"access", "api", "auth", "refresh", "bot"}:
        return Level.LIKELY
    if word in _LIKELY and (is_last or tail <= {"header", "headers", "value", "string", "basic", *_TOKEN_TAILS}):
        return Level.LIKELY
    if word in _LIKELY or word in ("token", "salt", "pepper", "webhook", "hook", "signature", "sig", "login"):
        return Level.PERHAPS if is_last or word in _LIKELY else Level.NONE
    return Level.PERHAPS if word == "key" and is_last and not _DIGESTS & set(words) else Level.NONE


def level_in_environment(name: str) -> Level:
    """Return the level of an environment variable: X_KEY is LIKELY there, and no name rules a secret out."""
    words = words_of(name)
    if words and words[-1] in ("key", "keys", "token", "auth", "hook", "webhook"):
        return max(level_of(name), Level.LIKELY)
    return max(level_of(name), Level.PERHAPS)
