"""Which literals of a Python program belong to a secret name: assigned, passed, paired, compared or returned."""

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from expkit.config.redaction.joined import in_parts
from expkit.config.redaction.names import Level, level_in_environment, level_of

Literal = ast.Constant | ast.JoinedStr
Marked = dict[Literal, Level]

_LOOKUPS = {"get", "getenv", "pop", "setdefault", "putenv", "setenv", "getattr", "setattr", "get_secret", "environ_get"}
_SIGN_IN = {"login", "signin", "sign_in", "log_in", "authenticate", "basic_auth", "httpbasicauth", "httpdigestauth",
            "fernet", "set_password", "basicauth", "httpproxyauth", "usernamepassword"}  # fmt: skip
_READERS = {
    "open", "path", "load", "read_text", "read_bytes", "join", "getpass", "input", "prompt", "get_secret", "expanduser",
    "exists", "find_spec", "add_argument", "option", "print", "format", "compile", "split", "strip", "removeprefix",
    "removesuffix", "startswith", "endswith", "replace", "search", "match", "fullmatch",
}  # fmt: skip

_SAYING = ("help", "description", "title", "doc", "label", "name", "type", "dest", "metavar", "encoding", "errors")
_NAMES_OF = ("name", "key", "alias", "env", "envvar", "dest", "field", "variable", "header", "option")
_VALUES_OF = ("value", "default", "const", "content", "fallback", "initial", "data", "text")
_LOGIN_FLAGS = {"curl": "-u", "sshpass": "-p", "mysql": "-p", "mysqldump": "-p", "mariadb": "-p", "redis-cli": "-a"}


# What signs in by its arguments' places: (host, user, password, …).
_CONNECTS = {"connect", "connection", "create_connection", "minio", "redis", "strictredis", "ftp", "ftp_tls", "client"}
_SERVERS = {
    "smtp", "ftp", "sftp", "pysftp", "ssh", "imap", "ldap", "pymysql", "mysqldb", "mysql", "mariadb", "aiomysql",
    "psycopg", "oracledb", "cx_oracle", "pymssql", "minio", "redis", "snowflake", "telnet", "mqtt", "vertica_python",
}  # fmt: skip


def marked_literals(tree: ast.AST) -> Marked:
    """Return the literals of a tree that a name calls secret, each with the highest level."""
    marked: Marked = {}
    nodes = [*ast.walk(tree)]
    handed: set[str] = set()  # variables whose values become secrets: wandb.login(key=k)
    for node in nodes:
        for value, level in _bound(node):
            _mark(value, level, marked)
            is_handed = not isinstance(node, ast.Call) or _name_of(node.func).lower() in _SIGN_IN
            if isinstance(value, ast.Name) and level >= Level.LIKELY and is_handed:
                handed.add(value.id)
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            _mark(node.value, Level.LIKELY if names & handed else Level.NONE, marked)
    return marked


def _mark(value: ast.AST | None, level: Level, marked: Marked) -> None:
    """Mark the literals that an expression's value may come from."""
    if value is None or not level:
        return
    if isinstance(value, Literal):
        marked[value] = max(marked.get(value, Level.NONE), level)
    elif isinstance(value, ast.Call):
        if _name_of(value.func).lower() not in _READERS | _LOOKUPS:
            given = [keyword.value for keyword in value.keywords if keyword.arg not in _SAYING]
            for argument in [*value.args, *given]:
                _mark(argument, level, marked)
        elif _name_of(value.func) in _LOOKUPS:
            for argument in value.args[1:]:
                _mark(argument, level, marked)
        if isinstance(value.func, ast.Attribute):
            _mark(value.func.value, level, marked)
            if isinstance(value.func.value, ast.Constant) and value.func.attr == "join":  # "".join(["…", "…"])
                for argument in value.args:
                    _mark(argument, level, marked)
    else:
        for part in _parts(value):
            _mark(part, level, marked)


_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {
    **dict.fromkeys((ast.Tuple, ast.List, ast.Set), ("elts",)),
    **dict.fromkeys((ast.Dict, ast.BoolOp), ("values",)),
    **dict.fromkeys((ast.Attribute, ast.Subscript, ast.Starred, ast.NamedExpr, ast.Await, ast.MatchValue), ("value",)),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.GeneratorExp), ("elt", "generators")),
    ast.BinOp: ("left", "right"), ast.IfExp: ("body", "orelse"), ast.Lambda: ("body",), ast.UnaryOp: ("operand",),
    ast.MatchOr: ("patterns",), ast.comprehension: ("iter",),
}  # fmt: skip


def _parts(value: ast.AST) -> Iterator[ast.AST | None]:
    """Yield the expressions that an expression takes its value from."""
    for field in _FIELDS.get(type(value), ()):
        found = getattr(value, field)
        yield from found if isinstance(found, list) else [found]


def _bound(node: ast.AST) -> Iterator[tuple[ast.AST | None, Level]]:
    """Yield (expression, level of the name that it is bound to) of one node."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _assigned(target, node.value)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        yield from _assigned(node.target, node.value)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield value, _level(key)
    elif isinstance(node, ast.Call):
        yield from _called(node)
    elif isinstance(node, ast.keyword):
        yield node.value, level_of(node.arg or "")
        if level_of(node.arg or "") and isinstance(node.value, ast.Tuple):
            yield from ((part, Level.CERTAIN) for part in node.value.elts[1:])  # auth=("user", "password")
    elif isinstance(node, ast.Tuple | ast.List):
        yield from _listed(node)
    elif isinstance(node, ast.Compare | ast.BoolOp):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else node.values
        level = max(_level_of_name(side) for side in sides)
        yield from ((side, level) for side in sides)
    elif isinstance(node, ast.BinOp):
        yield from in_parts(node)
    elif isinstance(node, ast.Match):
        yield from ((case.pattern, _level_of_name(node.subject)) for case in node.cases)
    elif isinstance(node, ast.ClassDef) and level_of(node.name) == Level.CERTAIN:
        yield from ((one.value, Level.LIKELY) for one in node.body if isinstance(one, ast.Assign | ast.AnnAssign))
    elif isinstance(node, ast.For | ast.comprehension):
        yield node.iter, _level(node.target)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        yield from _defined(node)


def _assigned(target: ast.AST, value: ast.AST | None) -> Iterator[tuple[ast.AST | None, Level]]:
    if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        for one, part in zip(target.elts, value.elts, strict=False):
            yield from _assigned(one, part)
        starred = max((_level(one.value) for one in target.elts if isinstance(one, ast.Starred)), default=Level.NONE)
        yield from ((part, starred) for part in value.elts)
        return
    level = _level(target)
    yield value, level
    if level >= Level.LIKELY and isinstance(value, ast.Tuple):
        yield from ((part, Level.CERTAIN) for part in value.elts[1:])
    if isinstance(value, ast.Dict) and _is_environment(target):  # os.environ |= {...}
        yield from _environment(value)


def _called(node: ast.Call) -> Iterator[tuple[ast.AST | None, Level]]:
    name = _name_of(node.func)
    if name.lower() in _SIGN_IN or (level_of(name) >= Level.LIKELY and name.lower() not in _READERS):
        yield from ((argument, Level.LIKELY) for argument in node.args[:1])
        yield from ((argument, Level.CERTAIN) for argument in node.args[1:])
        yield from ((keyword.value, Level.CERTAIN) for keyword in node.keywords if keyword.arg in ("key", "token"))
    elif name in ("encode", "decode") and _name_of(getattr(node.func, "value", node.func)).lower() == "jwt":
        yield from ((argument, Level.CERTAIN) for argument in node.args[1:2])
    elif (name.lower() in _CONNECTS or name.endswith("Client")) and len(node.args) > 1:
        yield from _signed_in_by_place(node)
    elif name == "new" and _name_of(getattr(node.func, "value", node.func)).lower() == "hmac":
        yield from ((argument, Level.CERTAIN) for argument in node.args[:1])
        yield from ((keyword.value, Level.CERTAIN) for keyword in node.keywords if keyword.arg == "key")
    yield from in_parts(node)
    yield from _paired(node.args)
    yield from _described(node)
    owner = node.func.value if isinstance(node.func, ast.Attribute) else node.func
    if _is_environment(owner) or name in ("getenv", "setenv", "putenv"):
        yield from ((value, level_in_environment(_text(node.args[0]))) for value in node.args[1:] if node.args)
        yield from ((keyword.value, level_in_environment(keyword.arg or "")) for keyword in node.keywords)
        for argument in node.args:
            if isinstance(argument, ast.Dict):
                yield from _environment(argument)
    for keyword in node.keywords:
        if keyword.arg == "env" and isinstance(keyword.value, ast.Dict):
            yield from _environment(keyword.value)


def _signed_in_by_place(node: ast.Call) -> Iterator[tuple[ast.AST | None, Level]]:
    owner = node.func.value if isinstance(node.func, ast.Attribute) else node.func
    is_server = _name_of(owner).lower().rstrip("0123456789") in _SERVERS
    for argument in node.args[1:]:
        if re.fullmatch("[0-9a-fA-F]{20,}", _text(argument)):
            yield argument, Level.CERTAIN
    texts = [argument for argument in node.args[1:] if _text(argument)]
    yield from ((argument, Level.PERHAPS) for argument in texts[1:])
    if is_server:
        yield from ((argument, Level.CERTAIN) for argument in node.args[2:4])


def _described(node: ast.Call) -> Iterator[tuple[ast.AST | None, Level]]:
    """Yield the value of a name beside it: option("--password", default="…"), f(name="token", value="…")."""
    named = [keyword.value for keyword in node.keywords if keyword.arg in _NAMES_OF]
    level = max((level_of(_text(one)) for one in [*named, *node.args[:2]]), default=Level.NONE)
    yield from ((keyword.value, level) for keyword in node.keywords if keyword.arg in _VALUES_OF)


def _environment(node: ast.Dict) -> Iterator[tuple[ast.AST | None, Level]]:
    for key, value in zip(node.keys, node.values, strict=True):
        yield value, level_in_environment(_text(key))


def _listed(node: ast.Tuple | ast.List) -> Iterator[tuple[ast.AST | None, Level]]:
    """Yield the items of a list with levels: of a pair, of options of a command line; names of columns are no pairs."""
    is_pair = isinstance(node, ast.Tuple) and len(node.elts) == 2
    texts = [_text(one) for one in node.elts]
    for (value, level), before in zip(_paired(node.elts), filter(None, texts[:-1]), strict=True):
        yield value, level if is_pair or before.startswith("-") else min(level, Level.LIKELY)
    if texts and (flag := _LOGIN_FLAGS.get(texts[0].rpartition("/")[2])):
        for value, before, text in zip(node.elts[1:], texts, texts[1:], strict=False):
            if before == flag or (text.startswith(flag) and len(text) > 2 and len(flag) == 2):
                yield value, Level.CERTAIN


def _paired(values: Sequence[ast.AST]) -> Iterator[tuple[ast.AST | None, Level]]:
    """Yield what follows a text that is a secret's name: ("x-api-key", "…"), setattr(x, "password", "…")."""
    for before, after in pairwise(values):
        if text := _text(before):
            yield after, level_of(text)


def _defined(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[tuple[ast.AST | None, Level]]:
    """Yield the defaults of a signature, and what a function with a secret's name returns."""
    places = [*node.args.posonlyargs, *node.args.args]
    defaults = node.args.defaults
    for argument, default in zip(places[len(places) - len(defaults) :], defaults, strict=True):
        yield default, level_of(argument.arg)
    for argument, one in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        yield one, level_of(argument.arg)
    if not isinstance(node, ast.Lambda) and (level := level_of(node.name)) >= Level.LIKELY:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Return | ast.Yield):
                yield inner.value, level


def _level(target: ast.AST | None) -> Level:
    """Return the level of what is assigned to, or of a key."""
    if isinstance(target, ast.Tuple | ast.List):
        return max((_level(one) for one in target.elts), default=Level.NONE)
    if isinstance(target, ast.Subscript):
        text = _text(target.slice)
        own = level_in_environment(text) if _is_environment(target.value) else level_of(text)
        return max(own, _level_of_name(target.value)) if text else _level_of_name(target.value)
    return level_of(_text(target)) if isinstance(target, ast.Constant) else _level_of_name(target)


def _level_of_name(node: ast.AST | None) -> Level:
    if isinstance(node, ast.Subscript):
        return level_of(_text(node.slice))
    if isinstance(node, ast.Call):
        texts = [_text(argument) for argument in node.args[:1]]
        return max([level_of(text) for text in texts if _name_of(node.func) in _LOOKUPS], default=Level.NONE)
    return level_of(_name_of(node))


def _is_environment(node: ast.AST) -> bool:
    return _name_of(node).lower() in ("environ", "env", "environb", "environment")


def _name_of(node: ast.AST | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _text(node: ast.AST | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return node.value.decode("latin-1")
    if isinstance(node, ast.JoinedStr):  # f"{name}_TOKEN"
        return "".join(map(_text, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):  # name + "_TOKEN"
        return _text(node.left) + _text(node.right)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
