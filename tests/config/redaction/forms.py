# ruff: noqa: E501 - a case stays on one line
"""Ways in which people write secrets into files, and ways of writing that are none."""

import random
import string

# Names that say it surely, and names of generated credentials.
CERTAIN = ["password", "db_password", "PGPASS", "apiKey", "API_KEY", "client_secret", "ssh_key", "passwd", "userPassword",
           "credentials", "AWS_SECRET_ACCESS_KEY", "smtp_pass", "private_key", "wandb_api_key", "root_pw"]  # fmt: skip
LIKELY = ["token", "HF_TOKEN", "auth", "SENTRY_DSN", "access_token", "GH_AUTH", "CONNECTION_STRING", "bearer", "X_AUTH",
          "authorization", "botToken", "NPM_TOKEN", "DB_CONN_STR", "refresh_token", "session_cookie"]  # fmt: skip
PREFIXES = ["ghp_", "npm_", "pypi-", "dckr_pat_", "hf_", "glpat-", "sk-proj-", "sk_live_", "xoxb-", "github_pat_", "gsk_",
            "nvapi-", "r8_", "tskey-auth-", "dop_v1_", "ya29.", "GOCSPX-", "key-"]  # fmt: skip

# {n}: the name, {s}: the secret, written as the file's kind wants it.
PYTHON_NAMED = [
    '{n}: str = "{s}"', "{n} = '{s}'", 'x = {{"{n}": "{s}"}}', 'x = dict({n}="{s}")', 'os.environ["{n}"] = "{s}"',
    'os.environ.setdefault("{n}", "{s}")', 'def f(a, {n}="{s}", *, b=1):\n    pass', 'def f(*, {n}: str = "{s}"):\n    pass',
    '{n} = r"{s}"', '{n} = f"{s}"', '{n} = b"{s}"', '{n} = """{s}"""', "{n} = '''{s}\n'''", 'os.environ.get("{n}", "{s}")',
    'self.{n} = "{s}"', 'cfg["{n}"] = "{s}"', '{n} = ("{s}")', '{n} = os.environ.get("X", "{s}")', '{n} = x or "{s}"',
    'if {n} == "{s}":\n    pass', 'setattr(x, "{n}", "{s}")', 'x = [("{n}", "{s}")]', '{n} = str("{s}")',
    '{n} = "{s}".encode()', 'client(url, {n}="{s}")', '{n} = base64.b64decode("{s}")', 'a = {n} = "{s}"',
    'class A:\n    {n}: str = "{s}"', '{n} = "{s}" if debug else None', 'a, {n} = 1, "{s}"', 'def {n}():\n    return "{s}"',
    'print(({n} := "{s}"))', "x = lambda {n}='{s}': 0", 'x = {{"{n}": ["{s}", "{s}"]}}', '# {n} = {s}', '"""{n}={s}"""',
    'monkeypatch.setenv("{n}", "{s}")', 'run(["x"], env={{"{n}": "{s}"}})', '{n} = (\n    "{s}"\n)', 'x["a"]["{n}"] = "{s}"',
    'cmd = "tool --{n}={s} --lr 1"', "j = '{{\"{n}\": \"{s}\"}}'", 'j = "{{\\"{n}\\": \\"{s}\\"}}"', 'headers = {{"{n}": b"{s}"}}',
    'getattr(x, "{n}", "{s}")', 'q = "https://a.org/x?{n}={s}&b=1"', 'assert {n} != "{s}"', '{n} = "{s}" "{s}"',
    'app.config.update({n}="{s}")', 'with open("x") as f, login({n}="{s}"):\n    pass', 'x = ["--{n}", "{s}"]',
]  # fmt: skip
PYTHON_BARE = [
    'x = ("bob", "{s}")', 'f("{s}")', 'x = "{s}"', "y = ['{s}']", 'wandb.login("{s}")', 'h = {{"Authorization": "Basic {s}"}}',
    'h = {{"Authorization": f"Bearer {s}"}}', 'r = get(u, auth=("bob", "{s}"))', 'u = "https://hooks.slack.com/services/T0/B0/{s}"',
    'u = "https://discord.com/api/webhooks/123/{s}"', 'u = "postgres://bob:{s}@host/db"', 'os.environ.get("T", "{s}")',
    'os.getenv("T", "{s}")', 's = HTTPBasicAuth("bob", "{s}")', 'server.login("bob", "{s}")', 'x = r"{s}"', 'x = b"""{s}"""',
    'hmac.new(b"{s}", m)', '# curl -u bob:{s} https://a.org', 'print("Bearer {s}")', 'os.environ.update({{"T": "{s}"}})',
    'requests.get(u, headers={{"X-Auth": "{s}"}})', "# {s}", 'x = f("""\n{s}\n""")',
]  # fmt: skip
SETTINGS_NAMED = [
    "{n}: {s}", '{n}: "{s}"', "{n}: '{s}'  # mine", "a:\n  b:\n    {n}: {s}", "- {n}: {s}", "x: {{{n}: '{s}', y: 1}}",
    "{n}: |\n  {s}\nb: 1", "{n}: >-\n  {s}\n  {s}", '"{n}": "{s}",', "{n}={s}", "{n} = {s}", '{n} = "{s}"',
    "export {n}={s}", "export {n}='{s}'", "tool --{n} '{s}'", "tool --{n}='{s}' -v", "  {n} = '''{s}'''", "# {n}: {s}",
    '{{"{n}": "{s}", "b": 1}}', "x = {{ {n} = \"{s}\" }}", "curl -H '{n}: {s}' https://a.org",
]  # fmt: skip
SETTINGS_BARE = [
    "curl -u bob:{s} https://a.org", "x: postgres://bob:{s}@host/db", "Authorization: Basic {s}", "a: {s}",
    "curl -H 'Authorization: Bearer {s}' https://a.org", "machine a.org login bob password {s}", "- {s}",
    "[credentials]\nx = {s}", "credentials:\n  x: {s}\n", "hook = https://hooks.slack.com/services/T0/B0/{s}",
]  # fmt: skip

# What must come out as it went in.
ORDINARY = '''
"""A plugin. token: the text of a token; key: what is sorted by."""
import os, torch
token_embedding = "learned"
cls_token, pad_token = "[CLS]", "<pad>"
x.add(key="epoch", monkey="banana", keyboard="qwerty")
x.sort(key=lambda one: one["key"])
tokenizer = Tokenizer("bert-base-uncased", token_type="wordpiece", max_tokens=4096)
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
fingerprint = {"train": "5eb63bbbe01eeed093cb22bb8f5acdc3", "key": "val/accuracy"}
os.environ.setdefault("OMP_NUM_THREADS", "4")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
root = os.environ.get("DATA_ROOT", "data/train"), os.environ.get("MODEL", "resnet18")
api_key = os.environ["API_KEY"]
password = os.environ.get("DB_PASSWORD") or cfg["password"]
token = open("token.txt").read()
url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
drive = "https://drive.google.com/uc?export=download&id=1AbCdEfGhIjKlMnOpQrStUvWxYz012345"
arch = ["ds_r1_k3_s1_e1_c16_se0.25", "ir_r2_k3_s2_e6_c24_se0.25", "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k"]
letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
when = time.strftime("%Y-%m-%d_%H-%M-%S")
weights = "MobileNet_V3_Large_Weights.IMAGENET1K_V2"
layers = "features.denseblock4.denselayer16.conv2.weight"
norm = {"mean": "0.485,0.456,0.406", "name": "EfficientNetB0"}
cache_key = f"{name}-{size}"
if key == "epoch" or token == "import":
    pass
def auth_mode(mode="basic", key="val/loss", author="someone"):
    return torch.load("checkpoints/step_00000012.safetensors", weights_only=True)
print(f"password={password!r} of {key}", file=sys.stderr)
monitor, name = "accuracy", "class_balanced"
parser.add_argument("--token-dim", default="256")
schema = {"type": "object", "keys": ["width", "height"], "passes": 3, "compass": "north"}
secretary, passage = "a person", "a text of many words that says nothing at all"
'''
ORDINARY_YAML = """\
# how it is trained
name: pets-small_resnet
model: {name: timm/vit_base_patch16_clip_224.openai, width: 16}
transforms:
  train: [{name: RandomResizedCrop, size: 224, scale: [0.08, 1.0]}]
dataset: {root: ~/pictures/pets, val_fraction: 0.2, classes: [cat, dog]}
sort_key: epoch
key: val/accuracy
tokenizer: bert-base-uncased
sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
author: someone
"""

_LETTERS = string.ascii_letters + string.digits


def random_secret(chance: random.Random, kind: str) -> str:
    """Return a secret. kind: token, base64, prefixed, hex, password (short, with signs), phrase (words)."""
    if kind == "hex":
        return "".join(chance.choices("0123456789abcdef", k=chance.choice([32, 40, 64])))
    if kind == "password":
        letters = "".join(chance.choices(_LETTERS + "!@%^*+=?.~-", k=chance.randint(8, 14)))
        return chance.choice(string.ascii_letters) + letters + str(chance.randint(0, 9))
    if kind == "phrase":
        return " ".join(chance.choices(["correct", "horse", "battery", "staple", "summer", "monkey"], k=3))
    body = "".join(chance.choices(_LETTERS + "_-" * (kind == "token"), k=chance.randint(20, 48)))
    if kind == "base64":
        return body + chance.choice(["+", "/"]) + "".join(chance.choices(_LETTERS, k=10)) + "=="
    return (chance.choice(PREFIXES) if kind == "prefixed" else "") + body
