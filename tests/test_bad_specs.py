"""Whatever is wrong with a study file, the user sees one line that says what and where."""

from __future__ import annotations

import random

import pytest

from ebmark.errors import EbmarkError
from ebmark.study import load

SPEC = """\
name = "mine"
seeds = 2
metrics = ["fisher"]

[budget]
steps = 100

[network]
name = "mlp"

[[methods]]
name = "cd"
k = [1, 10]

[[methods]]
name = "dsm"
datasets = ["gaussian"]

[[datasets]]
name = "gaussian"
dim = [2, 4]

[optimiser]
lr = 2e-3

[cost]
repeats = 3
dims = [4, 8]

[resources]
timeout = "10m"

[[target]]
metric = "fisher"
value = 0.1

[quick]
seeds = 1
"""

# what is replaced, by what, the line of the fault, what the message says
CASES = [
    # syntax
    ('name = "mine"', "name = ", 1, ("not TOML", "column")),
    ('name = "mine"', 'name = "mine', 1, ("not TOML",)),
    ("[budget]", "[budget", 5, ("not TOML",)),
    ("seeds = 2", "seeds = 2\nseeds = 3", 3, ("not TOML",)),
    ("dim = [2, 4]", "dim = [2, 4", 23, ("not TOML",)),
    ("seeds = 2", f"seeds = {'[' * 4000}", None, ("not TOML",)),
    ("seeds = 2", f"seeds = {'9' * 5000}", None, ("not TOML",)),
    ("seeds = 2", f"seeds = 0x{'f' * 5000}", None, ("not TOML",)),
    # keys and types
    ("seeds = 2", "sedes = 2", 2, ("sedes: unknown key; did you mean 'seeds'?",)),
    ("seeds = 2", '"a\\nb" = 2', None, ("a b: unknown key",)),
    ("steps = 100", "stpes = 100", 6, ("budget.stpes: unknown key; did you mean 'steps'?",)),
    ("repeats = 3", "repeat = 3", 27, ("cost.repeat: unknown key; did you mean 'repeats'?",)),
    ("value = 0.1", "valeu = 0.1", 33, ("target[0].value: missing",)),
    ("value = 0.1", "value = 0.1\nvaleu = 1", 36, ("target[0].valeu: unknown key; did you mean 'value'?",)),
    ("[optimiser]", "[optimizer]", 23, ("optimizer: unknown key; did you mean 'optimiser'?",)),
    ('name = "mine"', "", None, ("name: missing",)),
    ('name = "mine"', "name = 3", 1, ("name: 3 given; allowed: a string",)),
    ('name = "mine"', 'name = "a/b"', 1, ("'a/b' given; allowed: a folder's name",)),
    ('name = "mine"', 'name = "../b"', 1, ("a folder's name",)),
    ("steps = 100", "steps = -1", 6, ("budget.steps: -1 given; allowed: greater than 0",)),
    ("steps = 100", "steps = 0", 6, ("0 given",)),
    ("steps = 100", "steps = 1.5", 6, ("1.5 given; allowed: a whole number",)),
    ("steps = 100", "steps = true", 6, ("True given; allowed: a whole number",)),
    ("steps = 100", 'steps = "100"', 6, ("'100' given",)),
    ("steps = 100", "passes = inf", 6, ("budget.passes: inf given; allowed: a finite number",)),
    ("steps = 100", "passes = nan", 6, ("nan given",)),
    ("steps = 100", "batch = 3", 5, ("budget: none given; allowed: steps, passes or seconds",)),
    ("steps = 100", "steps = 9\ncostly = 0", 7, ("budget.costly: 0 given; allowed: greater than 0",)),
    ("steps = 100", "steps = 9\nmax_gradients = 9", 7, ("budget.max_gradients: 9 given; allowed: greater",)),
    ("steps = 100", "steps = 1979-05-27", 6, ("datetime.date(1979, 5, 27) given",)),
    ("[budget]", "[[budget]]", 5, ("budget", "allowed: a table")),
    ("[[methods]]\nname", "[methods]\nname", 15, ("not TOML",)),
    (
        "seeds = 2",
        "seeds = 0",
        2,
        ("seeds: 0 given; allowed: their number, 1 to 10000, or a list of distinct",),
    ),
    ("seeds = 2", "seeds = [1, 1]", 2, ("[1, 1] given",)),
    ("seeds = 2", "seeds = [-1]", 2, ("[-1] given",)),
    ("seeds = 2", "seeds = []", 2, ("[] given",)),
    ("seeds = 2", "seeds = 1000000000000", 2, ("1000000000000 given",)),
    ("seeds = 2", "seeds = true", 2, ("True given",)),
    ('metrics = ["fisher"]', "metrics = []", 3, ("metrics: [] given; allowed: at least 1",)),
    ('metrics = ["fisher"]', "metrics = [3]", 3, ("metrics[0]: 3 given; allowed: a string",)),
    ("seeds = 2", "methods = []", 11, ("not TOML",)),
    ('timeout = "10m"', 'timeout = "10x"', 31, ("resources.timeout: '10x' given; allowed: a positive time",)),
    ('timeout = "10m"', "gpus = -1", 31, ("resources.gpus: -1 given; allowed: greater than or equal to 0",)),
    ("[quick]\nseeds", "[quick]\nsedes", 38, ("quick.sedes: unknown key; did you mean 'seeds'?",)),
    ("[quick]\nseeds", '[quick]\n"so\\nods"', 37, ("quick.so ods: unknown key",)),
    ("[quick]\nseeds = 1", "[quick]\nseeds = -1", 38, ("seeds: -1 given",)),
    ("[quick]\nseeds = 1", "[quick.budget]\nsteps = -1", 38, ("budget.steps: -1 given",)),
    # plug-ins and settings
    ('name = "cd"', 'name = "cdd"', 12, ("methods: 'cdd': unknown method; did you mean 'cd'?",)),
    ('name = "cd"', "k2 = 1", 11, ("methods[0].name: missing",)),
    ('name = "cd"', 'name = ""', 12, ("methods: '': unknown method",)),
    ('name = "cd"', 'name = "no/such.py"', 12, ("no/such.py: cannot be read: No such file",)),
    (
        'name = "gaussian"\n',
        'name = "gausian"\n',
        20,
        ("datasets: 'gausian': unknown dataset; did you mean",),
    ),
    ('name = "mlp"', 'name = "mpl"', 9, ("networks: 'mpl': unknown network; did you mean 'mlp'?",)),
    (
        'metrics = ["fisher"]',
        'metrics = ["fissher"]',
        3,
        ("metrics: 'fissher': unknown metric; did you mean",),
    ),
    ('metrics = ["fisher"]', 'metrics = ["fisher["]', 3, ("selector 'fisher[': position 8",)),
    ("k = [1, 10]", "kk = [1, 10]", 13, ("methods: cd.kk: unknown setting; did you mean 'k'?",)),
    ("k = [1, 10]", "kind = 1", 13, ("methods: cd.kind: unknown setting",)),
    ("k = [1, 10]", "k = []", 13, ("methods: cd.k: an empty list given",)),
    ("k = [1, 10]", 'k = "ten"', 13, ("methods: cd.k: 'ten' given; allowed: a whole number",)),
    ("k = [1, 10]", "k = [1, 0]", 13, ("cd.k: 0 given; allowed: at least 1",)),
    ("k = [1, 10]", "k = [[1]]", 13, ("methods: cd.k: [1] given",)),
    ("k = [1, 10]", "k = { a = 1 }", 13, ("methods: cd.k: {'a': 1} given",)),
    ("k = [1, 10]", "h = nan", 13, ("methods: cd.h: nan given; allowed: a number",)),
    ('datasets = ["gaussian"]', "k = 10", 17, ("methods: dsm.k: unknown setting",)),
    ('datasets = ["gaussian"]', 'datasets = ["gausian"]', 17, ("'gausian': not a data set", "did you mean")),
    ('datasets = ["gaussian"]', 'datasets = "gaussian"', 17, ("methods[1].datasets: 'gaussian' given",)),
    ("dim = [2, 4]", "dim = -2", 21, ("gaussian.dim: -2 given",)),
    ("dim = [2, 4]", "n_train = 0", 21, ("datasets[0].n_train: 0 given",)),
    ("dim = [2, 4]", 'network = "mlpp"', 21, ("networks: 'mlpp': unknown network",)),
    ("dim = [2, 4]", 'network = "mlp[widht=3]"', 21, ("mlp.widht: unknown setting; did you mean 'width'?",)),
    ("lr = 2e-3", "lr = -1.0", 24, ("optimiser.lr[0]: -1.0 given; allowed: greater than 0",)),
    ("lr = 2e-3", "lr = []", 24, ("optimiser.lr: [] given; allowed: at least 1",)),
    ("lr = 2e-3", 'name = "sgd"', 24, ("optimiser.name: 'sgd' given; allowed: 'adam'",)),
    ("lr = 2e-3", "beta1 = 1.0", 24, ("optimiser.beta1: 1.0 given; allowed: at least 0 and below 1",)),
    ("dims = [4, 8]", 'dims = [4, 8]\ndataset = "guassian"', 29, ("'guassian': unknown dataset",)),
    ("dims = [4, 8]", "dims = [0]", 28, ("cost.dims[0]: 0 given; allowed: greater than 0",)),
    (
        'metric = "fisher"',
        'metric = "fischer"',
        34,
        ("target[0].metric: 'fischer': not a metric", "did you mean"),
    ),
    ("value = 0.1", 'value = 0.1\ndataset = "phi"', 36, ("target[0].dataset: 'phi': not a data set",)),
]


def line_of_failure(path, *facts: str, **options) -> str:
    with pytest.raises(EbmarkError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    for fact in facts:
        assert fact in message
    return message


@pytest.mark.parametrize(("old", "new", "line", "facts"), CASES)
def test_a_fault_is_one_line_with_its_place(tmp_path, monkeypatch, old, new, line, facts):
    assert old in SPEC
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(SPEC.replace(old, new, 1))
    message = line_of_failure("mine.toml", *facts)
    assert message.startswith("mine.toml:" if line is None else f"mine.toml, line {line}")


def test_nothing_to_run(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "n"\nbudget.steps = 1\n[[methods]]\nname = "dsm"\n')
    line_of_failure(path, "nothing to run")


def test_files_that_cannot_be_read(tmp_path):
    line_of_failure(tmp_path / "none.toml", "none.toml: cannot be read: No such file")
    line_of_failure(tmp_path, "cannot be read: Is a directory")
    line_of_failure("nul\0.toml", "cannot be read")
    line_of_failure("x" * 5000, "unknown study")
    line_of_failure("two\nlines.toml", "two lines.toml: cannot be read")
    latin = tmp_path / "latin.toml"
    latin.write_bytes(SPEC.replace("mine", "Å").encode("latin-1"))
    line_of_failure(latin, "latin.toml: not a UTF-8 text: byte 8")
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    line_of_failure(empty, "name: missing")


@pytest.mark.parametrize(
    ("options", "start", "fact"),
    [
        ({"methods": ["cd[kk=1]"]}, "--method cd[kk=1]: ", "cd.kk: unknown setting; did you mean 'k'?"),
        ({"methods": ["dsm", "cd[k="]}, "--method cd[k=: ", "position 6: the end given"),
        ({"methods": ["cd[\nk="]}, "--method cd[ k=: ", "position 7: the end given"),
        ({"methods": ["dsmm"]}, "--method dsmm: ", "unknown method; did you mean 'dsm'?"),
        ({"methods": ["x.py"]}, "--method x.py: ", "x.py: cannot be read"),
        ({"datasets": ["gaussian[dim=0]"]}, "--dataset gaussian[dim=0]: ", "gaussian.dim: 0 given"),
        ({"datasets": ["gaussian[n_train=x]"]}, "--dataset gaussian[n_train=x]: ", "n_train: 'x' given"),
        ({"seeds": 0}, "--seeds 0: ", "seeds: 0 given"),
        ({"steps": -3}, "--steps -3: ", "budget.steps: -3 given"),
        ({"timeout": "soon"}, "--timeout soon: ", "'soon' given; allowed: a positive time"),
    ],
)
def test_a_fault_in_an_option_names_the_option(tmp_path, options, start, fact):
    path = tmp_path / "mine.toml"
    path.write_text(SPEC)
    assert line_of_failure(path, fact, **options).startswith(start)


def test_a_fault_in_the_quick_table_has_its_own_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SPEC + '\n[[quick.methods]]\nname = "cd"\nkk = 1\n')
    load(path)
    number = path.read_text().split("\n").index("kk = 1") + 1
    assert f"line {number}: methods: cd.kk" in line_of_failure(path, quick=True)


def test_two_plugins_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "from ebmark.api import Method, method\n\n\n@method('toy', year=1)\nclass Toy(Method): ...\n"
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "mine.toml").write_text(SPEC)
    line_of_failure("mine.toml", "a.py:toy", "b.py:toy", "rename one", methods=["a.py", "b.py"])


def test_one_metric_with_several_settings_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = "from ebmark.api import Metric, metric\n\n\n"
    (tmp_path / "m.py").write_text(f"{head}@metric('toy')\nclass Toy(Metric):\n    n: int = 1\n")
    (tmp_path / "mine.toml").write_text(SPEC.replace('metrics = ["fisher"]', 'metrics = ["m.py[n=[1,2]]"]'))
    message = line_of_failure("mine.toml", "metrics: 'toy' given with several settings; allowed: one of each")
    assert message.startswith("mine.toml, line 3: ")


def mutated(text: str, rng: random.Random) -> str:
    """A copy with one to four bytes or lines removed, doubled, swapped or replaced."""
    for _ in range(rng.randint(1, 4)):
        i = rng.randrange(len(text) + 1)
        j = min(len(text), i + rng.choice((1, 1, 2, 8, 60)))
        lines = text.split("\n")
        k = rng.randrange(len(lines))
        text = rng.choice(
            [
                text[:i] + text[j:],
                text[:i] + text[i:j] * 2 + text[j:],
                text[:i] + rng.choice("\"'[]{}=,.#-0e\n\\\t\0é\u2028") + text[i:],
                text[:i]
                + str(rng.choice([-1, 0, 1e308, "nan", "true", "[]", "[[1]]", '"x"', "{}"]))
                + text[j:],
                "\n".join(lines[:k] + lines[k + 1 :]),
                "\n".join([*lines[: k + 1], *lines[k:]]),
                "\n".join(rng.sample(lines, len(lines))),
                text[:i],
            ]
        )
    return text


def test_no_mutation_of_a_spec_gives_anything_but_one_line(tmp_path):
    path = tmp_path / "mine.toml"
    rng = random.Random(0)
    refused = 0
    for _ in range(300):
        path.write_text(mutated(SPEC, rng), encoding="utf-8")
        try:
            load(path, quick=rng.random() < 0.5)
        except EbmarkError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 150 < refused < 300  # neither everything nor nothing: the mutations are telling
