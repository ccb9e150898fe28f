"""Mutated study files and damaged results folders, and the verbs that must bear them.

What a verb may do with either: succeed, or say one line and end with 1. Anything else is a ``Fault``.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import shutil
import signal
import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import strategies as st

from ebmark import store
from ebmark.cli import main
from ebmark.errors import EbmarkError
from ebmark.record import SCHEMA
from ebmark.store import Store

MOST = 400  # trials that a plan is made of
WORK, WAIT = 20.0, 120.0  # seconds of the processor, and of the clock, that a verb may take
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Fault(AssertionError):
    """A verb ended as none may."""


class Late(BaseException):
    """A verb takes too long; no ``except Exception`` holds it up."""


@contextlib.contextmanager
def limit() -> Iterator[None]:
    """Raises ``Late`` in the main thread after too much work, or too long a wait on a busy machine."""

    def ring(*_: object) -> None:
        raise Late

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, WORK), (signal.ITIMER_REAL, signal.SIGALRM, WAIT))
    before = [signal.signal(number, ring) for _, number, _ in timers]
    for timer, _, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def verb(*arguments: object) -> tuple[int, str]:
    """Exit code and standard output of a verb in this process.

    Raises:
        Fault: an exception, no answer, another code, or an error of more than its line.
    """
    words = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    try:
        with limit(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(words)
    except SystemExit as ended:
        code = ended.code
    except Late:
        raise Fault(f"{words}: no answer") from None
    except BaseException as error:
        raise Fault(f"{words}: {type(error).__name__}: {error}") from error
    told = [line for line in err.getvalue().splitlines() if line.startswith("ebmark: ")]
    if code not in (0, 1, 2) or len(told) != (code == 1):
        raise Fault(f"{words}: code {code}: {err.getvalue()[-500:]}")
    if code == 1 and not err.getvalue().endswith(f"{told[0]}\n"):
        raise Fault(f"{words}: more than one line: {err.getvalue()[-500:]}")
    return int(code or 0), out.getvalue()


# --- study files -----------------------------------------------------------------------------------------


def _shipped() -> dict[str, str]:
    files = resources.files("ebmark.studies").iterdir()
    return {f.name.removesuffix(".toml"): f.read_text() for f in files if f.name.endswith(".toml")}


SHIPPED = _shipped()
ODD = (
    *("", "é", "\u2028", "../../x", "/etc/passwd", "a\nb", "x" * 300, "x.py", "x.npy", "nan", "auto", "cd["),
    *(0, -1, 1, 2, 3, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e308, 1e-308, float("inf"), float("nan")),
    *(True, False, [], {}, [[]], [[1]], [1, 1], {"a": 1}, ["x"], {"name": "cd"}, [{"name": "cd"}]),
)
MARKS = (
    "\"'[]{}=,.#-0e\n\\\t\0é\u2028",
    *ODD[:12],
    "[[methods]]",
    "[budget]",
    "true",
    "1e999",
    "0x",
    "2026-01-01",
)
odd: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(ODD), st.integers(-3, 1000), st.floats(), st.text(max_size=8)
)


@st.composite
def mutated_text(draw: Draw) -> str:
    """A shipped study with a few bytes or lines removed, doubled, moved or replaced."""
    text: str = SHIPPED[draw(st.sampled_from(sorted(SHIPPED)))]
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.sampled_from((0, 1, 1, 2, 8, 60, 500))))
        what = draw(st.sampled_from(("cut", "double", "put", "line", "end")))
        if what == "cut":
            text = text[:begin] + text[end:]
        elif what == "double":
            text = text[:end] + text[begin:]
        elif what == "put":
            mark = draw(st.one_of(st.sampled_from(MARKS), st.text(max_size=4)))
            text = text[:begin] + mark + text[end:]
        elif what == "line":
            lines = text.split("\n")
            line = lines.pop(draw(st.integers(0, len(lines) - 1)))
            lines.insert(draw(st.integers(0, len(lines))), line)
            text = "\n".join(lines)
        else:
            text = text[:begin]
    return text


@st.composite
def mutated_values(draw: Draw) -> str:
    """A shipped study with a few values replaced, removed, renamed or put under another key."""
    tables = tomllib.loads(SHIPPED[draw(st.sampled_from(sorted(SHIPPED)))])
    for _ in range(draw(st.integers(1, 3))):
        holders = [*_holders(tables)]
        holder = holders[draw(st.integers(0, len(holders) - 1))]
        keys = [*holder] if isinstance(holder, dict) else [*range(len(holder))]
        what = draw(st.sampled_from(("replace", "replace", "replace", "remove", "add", "swap")))
        key = keys[draw(st.integers(0, len(keys) - 1))] if keys else None
        if what == "remove" and key is not None:
            del holder[key]
        elif what == "add" and isinstance(holder, dict):
            holder[draw(st.one_of(st.sampled_from(KEYS), st.text(max_size=6)))] = copy.deepcopy(draw(odd))
        elif what == "swap" and key is not None:
            other = holders[draw(st.integers(0, len(holders) - 1))]
            holder[key] = json.loads(json.dumps(other, default=str))
        elif key is not None:
            holder[key] = copy.deepcopy(draw(odd))  # the next round may change it
    return written(tables)


KEYS = (
    *(
        "name",
        "seeds",
        "metrics",
        "pictures",
        "budget",
        "network",
        "methods",
        "datasets",
        "optimiser",
        "tune",
    ),
    *("cost", "resources", "target", "quick", "steps", "passes", "seconds", "batch", "checkpoints", "costly"),
    *(
        "lr",
        "k",
        "sampler",
        "dim",
        "n_train",
        "width",
        "depth",
        "repeats",
        "dims",
        "timeout",
        "gpus",
        "folder",
    ),
    *("max_gradients", "beta1", "schedule", "trials", "by", "over", "metric", "value", "per_dim", "path"),
)


def _holders(value: Any) -> Iterator[Any]:
    """Every table and list inside, itself first."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)


def written(tables: dict[str, Any]) -> str:
    """The tables as TOML, each value on its line."""
    return "".join(f"{_quoted(key)} = {_value(value)}\n" for key, value in tables.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    marks = (c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return '"' + "".join(marks) + '"'


specs = st.one_of(mutated_text(), mutated_values())


def bear_spec(text: str, *, planned: bool = True, quick: bool = False) -> str:
    """Gives a study file to ``plan``; how it ended: refused, loaded or planned.

    Raises:
        Fault: see ``verb``; or a plan that would write outside the results.
    """
    from ebmark.study import load

    Path("fuzzed.toml").write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    options = ["--quick"] if quick else []
    try:
        with limit():
            study = load("fuzzed.toml", quick=quick)
            count = len(study.trials()) if len(study.seeds) < MOST else MOST + 1
    except EbmarkError as error:
        if "\n" in str(error):
            raise Fault(f"more than one line: {error}") from error
        if planned:
            verb("plan", "fuzzed.toml", *options)
        return "refused"
    except Late:
        raise Fault("load: no answer") from None
    except Exception as error:
        raise Fault(f"load: {type(error).__name__}: {error}") from error
    if Path("results", study.name).resolve().parent != Path("results").resolve():
        raise Fault(f"results would be written to {study.name!r}")
    if not planned or count > MOST:
        return "loaded"
    code, _ = verb("plan", "fuzzed.toml", "--json", *options)
    return "refused" if code else "planned"


# --- results folders -------------------------------------------------------------------------------------

DAMAGES = (
    *("truncate", "flip", "empty", "text", "delete", "delete folder", "file for folder", "folder for file"),
    *("alien parquet", "alien file", "partial", "double", "swap", "older", "newer", "pipe", "loop", "json"),
)


@st.composite
def damages(draw: Draw) -> tuple[tuple[str, int], ...]:
    """What is done to a folder, and a seed for where."""
    one = st.tuples(st.sampled_from(DAMAGES), st.integers(0, 2**32))
    return tuple(draw(st.lists(one, min_size=1, max_size=4)))


def damage(folder: Path, what: str, seed: int) -> None:
    """Damages a results folder in one way."""
    rng = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    parts = [path for path in files if path.suffix == ".parquet"]
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if not files or not parts or not folders:
        return
    file, part, inside = rng.choice(files), rng.choice(parts), rng.choice(folders)
    content = bytearray(file.read_bytes())
    if what == "truncate":
        file.write_bytes(content[: rng.randrange(len(content) + 1)])
    elif what == "flip" and content:
        for _ in range(rng.choice((1, 1, 8))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
    elif what == "empty":
        file.write_bytes(b"")
    elif what == "text":
        file.write_bytes(rng.choice((b"hello", b"[]", b"{}", b"null", b"\xff\xfe", b"PAR1", b"[" * 5000)))
    elif what == "delete":
        file.unlink()
    elif what == "delete folder":
        shutil.rmtree(inside)
    elif what == "file for folder":
        shutil.rmtree(inside)
        inside.write_text("")
    elif what == "folder for file":
        file.unlink()
        file.mkdir()
    elif what == "partial":
        (file.parent / f".{file.name}.tmp").write_bytes(content[: len(content) // 2])
    elif what == "double":
        whole, copy = part.read_bytes(), part.with_name(f"part-{rng.randrange(20):08d}.parquet")
        _free(copy)
        copy.write_bytes(whole)
    elif what == "swap":
        other = rng.choice(parts)
        a, b = part.read_bytes(), other.read_bytes()
        part.write_bytes(b)
        other.write_bytes(a)
    else:
        _odd_thing(rng, what, file, part, inside)


def _odd_thing(rng: random.Random, what: str, file: Path, part: Path, inside: Path) -> None:
    """Damages that put something else into a folder."""
    new = inside / f"part-{rng.randrange(20):08d}.parquet"
    if what in ("older", "newer"):
        data = _table(part)
        if data is None or data.num_columns < 2:
            return  # damaged before
        if what == "older":
            dropped = rng.sample(data.column_names[1:], rng.randrange(1, len(data.column_names)))
            data = data.drop_columns(dropped)
        version = SCHEMA + 1 if what == "newer" else rng.randrange(SCHEMA)
        pq.write_table(data.replace_schema_metadata({b"ebmark_schema": str(version).encode()}), part)
    elif what == "alien parquet":
        import pyarrow as pa

        columns = {"id": pa.array([1, 2]), "attempt": pa.array(["x", None]), "colour": pa.array([[1], None])}
        some = dict(rng.sample(sorted(columns.items()), rng.randrange(1, 4)))
        _free(new)
        pq.write_table(pa.table(some), new)
    elif what == "alien file":
        alien = rng.choice((inside, inside.parent)) / rng.choice(("README", "x.parquet", ".hidden", "a b"))
        _free(alien)
        alien.write_text("?")
    elif what == "pipe":
        _free(rng.choice((new, file)), make=os.mkfifo)
    elif what == "loop":
        _free(rng.choice((new, file)), make=lambda path: path.symlink_to(path))
    elif what == "json":
        name = rng.choice(("plan.json", "cost.json", "precision.json", "running.json"))
        odd = ("[1]", '{"x": "y"}', '{"planned": 3}', '{"planned": [1], "outdated": {}}', "1", '{"a": NaN}')
        _free(inside.parent / name)
        (inside.parent / name).write_text(rng.choice(odd))


def _table(part: Path) -> Any:
    import pyarrow as pa

    try:
        return pq.read_table(part, partitioning=None)
    except (pa.ArrowException, OSError):
        return None  # damaged before


def _free(path: Path, make: Callable[[Path], object] = lambda path: None) -> None:
    """Removes what is there and makes something else."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    make(path)


def rows_of(folder: Path) -> dict[str, set[str]]:
    """The ids in each part of ``trials``, by the content of the part."""
    return {
        path.read_bytes().hex(): set(pq.read_table(path, columns=["id"], partitioning=None)["id"].to_pylist())
        for path in sorted((folder / "trials").glob("*.parquet"))
    }


def good_rows(folder: Path, parts: dict[str, set[str]]) -> set[str]:
    """The ids in parts of ``trials`` that are as they were written."""
    trials = folder / "trials"
    files = trials.glob("*.parquet") if trials.is_dir() else ()
    whole = (parts.get(path.read_bytes().hex(), set()) for path in files if path.is_file())
    return set[str]().union(*whole)


def bear_folder(base: Path, done_to: Sequence[tuple[str, int]], verbs: Sequence[str]) -> dict[str, int]:
    """Damages a copy of a results folder and gives it to the verbs; how often each succeeded.

    Raises:
        Fault: see ``verb``; or a row that was whole is lost.
    """
    folder = Path("damaged")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    parts = rows_of(folder)
    for what, seed in done_to:
        damage(folder, what, seed)
    good, counts = good_rows(folder, parts), dict.fromkeys(verbs, 0)
    shutil.rmtree("merged", ignore_errors=True)
    for name in verbs:
        counts[name] += _calls(folder, base)[name]() == 0
        _lost(good, good_rows(folder, parts), f"{name} has removed rows")
    try:
        _lost(good, set(store.read(folder).trials["id"]), "read misses rows")
    except EbmarkError as error:
        if "\n" in str(error):
            raise Fault(f"more than one line: {error}") from error
    else:
        _written_on(folder, good)
    return counts


def _written_on(folder: Path, good: set[str]) -> None:
    """A writer that goes on keeps what was there."""
    try:
        with Store(folder) as writer:
            _lost(good, set(store.read(folder).trials["id"]), "the writer has removed rows")
            writer.compact()
    except EbmarkError:
        pass
    except Exception as error:
        raise Fault(f"compact: {type(error).__name__}: {error}") from error
    try:
        found = set(store.read(folder).trials["id"])
    except EbmarkError as error:
        raise Fault(f"after the writer it cannot be read: {error}") from error
    _lost(good, found, "a compaction has lost rows")


def _lost(good: set[str], found: set[str], what: str) -> None:
    if lost := good - found:
        raise Fault(f"{what}: {len(lost)} of {len(good)}: {sorted(lost)[:3]}")


def _calls(folder: Path, base: Path) -> dict[str, Callable[[], int]]:
    def say(*arguments: object) -> Callable[[], int]:
        return lambda: verb(*arguments)[0]

    return {
        "status": say("status", folder, "--json"),
        "show": say("show", "a11", folder, "--json"),
        "compare": say("compare", base, folder, "--json"),
        "export": say("export", folder, "-o", "out.csv"),
        "merge": say("merge", base, folder, "-o", "merged"),
        "plan": say("plan", "smoke", "-o", folder, "--json"),
        "report": lambda: report_tables(folder),
    }


def report_tables(folder: Path) -> int:
    """Everything of the report but its drawing; 1 where it is refused in one line."""
    from ebmark.commands.report import study_file
    from ebmark.report.frames import load
    from ebmark.report.look import Look
    from ebmark.report.sections import report

    try:
        with limit():
            tables = store.read(folder)
            study = load(tables, study_file(tables), "damaged")
            first = study.trials.drop_duplicates("label")
            report(study, Look(study.labels, first["method"].astype(str).tolist()))
    except EbmarkError as error:
        if "\n" in str(error):
            raise Fault(f"report: more than one line: {error}") from error
        return 1
    except Late:
        raise Fault("report: no answer") from None
    except Exception as error:
        raise Fault(f"report: {type(error).__name__}: {error}") from error
    return 0
