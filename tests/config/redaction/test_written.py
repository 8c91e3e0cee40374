# ruff: noqa: E501 - a case stays on one line
"""Each secret of the tables is left out, Python that parsed parses, and what only looks like a secret stays."""

import ast

import pytest

from expkit.config.redaction.sources import redact_source
from expkit.config.redaction.text import redact_text
from tests.config.redaction import written

# Names and texts of ordinary programs, with the words that secrets have too.
KEPT = [
    "tokens = tokenizer(text, max_tokens=128, padding_token='<pad>')", "num_tokens = 50257", "token_count: int = 4096",
    "vocab = {'<cls>': 0, '[SEP]': 102, 'token': 1}", "rows.sort(key=lambda row: row['key'])", "max(scores, key=scores.get)",
    "def login(password=None, token=None): ...", "password = None", "api_key = ''", "api_key = os.environ['API_KEY']",
    "token = getpass.getpass('Token: ')", "columns = ['user', 'password', 'email']", "classes = ['key', 'lock', 'token']",
    "w = ResNeXt101_32X8D_Weights.IMAGENET1K_V2", "from optuna.integration import LightGBMPruningCallback",
    "x = '(fc1|fc2|layer4.2.conv3).weight'", "sha = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
    "m = create('vit_base_patch16_224.augreg2_in21k_ft_in1k')", "secret_sauce = MixUp(alpha=0.2)", "key = jax.random.PRNGKey(0)",
    "for key, value in state.items(): state['module.' + key] = value", "if sig == 'RIFF': pass", "pin_memory = True",
    "auth = None", "t = 'tokens per second'", "mask_token = torch.zeros(1, 1, 768)", "bypass = 'identity'", "compass = 'north'",
    "author = 'Ada Lovelace'", "keys = ['loss', 'accuracy']", "primary_key = 'image_id'", "forward_pass = 'half precision'",
    "headers = {'Authorization': f'Bearer {token}'}", "url = f'https://{user}:{password}@{host}/'", "x['token'] = next(stream)",
    "print('the password is read from the environment')", "# the token is the first of the row", "batch_key = 'image'",
    "db.connect('train.sqlite', 'rw', 'utf8')", "button.connect('clicked', 'handler', 'data')", "# login: see the README / wiki",
    "x = '12:30:45'", "# the pwd of the job", "run(['tar', '-p', '-xf', 'a.tar'])", "os.system('echo done | tee log.txt')",
    "if is_secret(text): text = f'{a}{b}'", "image = 'repo/image:tag@sha256:abc'", "s3.download_file('my-bucket', 'a/train.tar', 'b')",
    # No rule can separate `# bob:hunter2` from these.
    "# model:resnet50", "# width:height", "# see:issue42", "# best:run7a3", "# tag:v2beta1", "# note: see", "# cuda:gpu0",
]  # fmt: skip


@pytest.mark.parametrize(("source", "secret"), written.PYTHON)
def test_python(source: str, secret: str) -> None:
    kept = redact_source("a.py", source)
    assert secret not in kept
    try:
        ast.parse(source)
    except SyntaxError:
        return
    ast.parse(kept)


@pytest.mark.parametrize(("name", "text", "secret"), written.SETTINGS)
def test_settings(name: str, text: str, secret: str) -> None:
    assert secret not in redact_source(name, text)


@pytest.mark.parametrize("source", KEPT)
def test_ordinary_code_stays(source: str) -> None:
    assert redact_source("a.py", source) == source


@pytest.mark.parametrize("piece", ["a://b:", "password=", "echo a ", "x is ", "login: a / ", "a:bcde@"])
def test_long_lines_take_no_longer_for_each_character(piece: str) -> None:
    """No time is asserted: what would take minutes by the square of the length ends at the suite's limit."""
    redact_text(piece * (100_000 // len(piece)), "code")
