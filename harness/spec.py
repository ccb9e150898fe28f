"""The shape of a study file: its tables, keys and types, every error one line with its place.

Which plug-ins and settings there are is checked by ``ebmark.checker``. Nothing here imports torch, so that a
report can read the file stored beside its results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ebmark.errors import SpecError, did_you_mean
from ebmark.specfile import Key, Places, dotted
from ebmark.trial import MAX_GRADIENTS

# Over 200 lines: one schema, whose values, tables and messages are read together.

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B)?", re.ASCII)
_BYTES = {None: 1} | {f"{p}{i}B": b**n for i, b in (("", 1000), ("i", 1024)) for n, p in enumerate("KMGT", 1)}
MAX_SEEDS = 10_000
# Below it a search for modes, runs backwards and 2000 samples do not all get their least share (d <= 1000).
LEAST_GRADIENTS = 150_000
MAX_TUNE = 8  # with more rates the ladder leaves all that a method could use
TUNE_SEED = 10**9  # of every tuning trial, far from the seeds that results are made with


def seconds(given: Any) -> float:
    """``"90s"``, ``"10m"``, ``"1.5h"`` or a number of seconds, in seconds.

    Raises:
        ValueError: it is none of these, or not positive.
    """
    match = _DURATION.fullmatch(given.strip() if isinstance(given, str) else f"{given!r}")
    value = float(match[1]) * _UNITS[match[2]] if match and not isinstance(given, bool) else 0.0
    if not 0 < value < float("inf"):
        raise ValueError('a positive time such as "90s", "10m", "2h" or a number of seconds')
    return value


def size(given: Any) -> int:
    """``"4GiB"``, ``"512 MiB"`` or a number of bytes, in bytes.

    Raises:
        ValueError: it is none of these, or less than a mebibyte.
    """
    match = _SIZE.fullmatch(given.strip() if isinstance(given, str) else f"{given!r}")
    value = float(match[1]) * _BYTES[match[2]] if match and not isinstance(given, bool) else 0.0
    if not 2**20 <= value < 2**60:
        raise ValueError('a size from 1 MiB on, such as "512MiB", "4GiB", "8GB" or a number of bytes')
    return int(value)


def _seeds(given: Any) -> Any:
    if type(given) is int and 1 <= given <= MAX_SEEDS:
        return list(range(given))
    each = given if isinstance(given, list) else []
    right = all(type(seed) is int and 0 <= seed < 2**63 for seed in each)
    if not (each and right and len(set(each)) == len(each)):
        raise ValueError(f"their number, 1 to {MAX_SEEDS}, or a list of distinct whole numbers from 0 on")
    if TUNE_SEED in each:
        raise ValueError(f"seeds other than {TUNE_SEED}, with which settings are tuned")
    return each


def _study_name(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", given):
        raise ValueError("a folder's name of letters, digits, '.', '_' and '-'")
    return given


_Listed = BeforeValidator(lambda given: given if isinstance(given, list) else [given])
Count = Annotated[int, Field(gt=0, lt=2**31)]
Positive = Annotated[float, Field(gt=0)]


class Table(BaseModel):
    """A table of the file: no key but those listed, no value silently converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class LimitsTable(Table):
    """``budget`` of a method or a data set: what replaces the study's limits; the other keys stay."""

    steps: Count | None = None
    passes: Positive | None = None
    seconds: Positive | None = None


class BudgetTable(LimitsTable):
    """``[budget]``; metrics that need log Z or samples are taken at ``costly`` of the ``checkpoints``.

    Those are evenly spread, and the last is one of them; each spends at most ``max_gradients``.
    """

    batch: Count = 256
    checkpoints: Count = 8
    costly: Count = 1
    max_gradients: Annotated[float, Field(ge=LEAST_GRADIENTS)] = MAX_GRADIENTS


class PluginTable(Table):
    """``[network]``: a name; every other key is a setting of the plug-in."""

    model_config = ConfigDict(extra="allow")

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that the plug-in understands; a list is a grid."""
        return dict(self.model_extra or {})


class MethodTable(PluginTable):
    """``[[methods]]``; ``datasets`` restricts the entry to those, ``budget`` and ``lr`` are its own."""

    datasets: Annotated[list[str], Field(min_length=1)] | None = None
    budget: LimitsTable | None = None
    lr: Positive | None = None


class DatasetTable(PluginTable):
    """``[[datasets]]``; the selector ``network`` replaces the study's, ``n_train`` fixes a training set.

    ``metrics`` replace the study's; ``budget`` holds for every method there, also for one with its own.
    """

    network: str | None = None
    n_train: Count | None = None
    budget: LimitsTable | None = None
    metrics: Annotated[list[str], Field(min_length=1)] | None = None


class OptimiserTable(Table):
    """``[optimiser]``; a list of rates is a grid."""

    name: str = "adam"
    lr: Annotated[list[Positive], _Listed, Field(min_length=1)] | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    schedule: str = "cosine"


class CostTable(Table):
    """``[cost]``: timed runs of every quality cell (``cells``) and of ``dataset`` at the sizes ``dims``."""

    repeats: Count = 5
    seconds: Positive = 1.0
    dims: list[Count] = []
    dataset: str = "gaussian"
    network: str | None = None
    cells: bool = True


class TuneTable(Table):
    """``[tune]``: how many rates are tried per method and cell; that with the smallest ``by`` is chosen."""

    over: Literal["lr"] = "lr"
    trials: Annotated[int, Field(ge=2, le=MAX_TUNE)] = 4
    by: str = "log_density_mse"


class ResourcesTable(Table):
    """``[resources]`` of a trial: GPUs, a fraction shares one; memory in bytes; its time limit in seconds.

    A trial whose worker or machine is lost is tried again ``retries`` times; one that fails by itself is not.
    A trial is saved whenever ``save_every`` seconds have passed; one that is interrupted goes on from there.

    ``seeds_together`` trials of the quality lane that differ in their seed are trained in one program, where
    method and network allow it.
    """

    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory: Annotated[int, BeforeValidator(size)] | None = None
    timeout: Annotated[float, BeforeValidator(seconds)] = 1800.0
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    save_every: Annotated[float, BeforeValidator(seconds)] = 300.0
    seeds_together: Count = 1


class TargetTable(Table):
    """``[[target]]``: a quality whose cost the report gives; ``value`` is per dimension if ``per_dim``."""

    metric: str
    value: float
    per_dim: bool = False
    dataset: str | None = None


class Spec(Table):
    """A whole file."""

    name: Annotated[str, AfterValidator(_study_name)]
    seeds: Annotated[list[int], BeforeValidator(_seeds)] = [0]
    metrics: Annotated[list[str], Field(min_length=1)] = ["fisher", "kl", "nll"]
    pictures: bool = True
    budget: BudgetTable
    network: PluginTable = PluginTable(name="mlp")
    methods: Annotated[list[MethodTable], Field(min_length=1)]
    datasets: list[DatasetTable] = []
    optimiser: OptimiserTable = OptimiserTable()
    tune: TuneTable | None = None
    cost: CostTable | None = None
    resources: ResourcesTable = ResourcesTable()
    target: Annotated[list[TargetTable], _Listed] = []
    quick: dict[str, Any] = {}


def validate(tables: Mapping[str, Any], places: Places) -> Spec:
    """The file's tables with defaults filled in.

    Raises:
        SpecError: the first thing wrong, with its place.
    """
    try:
        spec = Spec.model_validate(tables)
    except ValidationError as error:
        raise SpecError(_message(error, places)) from error
    for key in spec.quick:
        if key not in Spec.model_fields or key == "quick":
            where = f"{places.find(('quick', key))}: {dotted(('quick', key))}"
            raise SpecError(f"{where}: unknown key{_allowed_keys((), key)}")
    return spec


def _message(error: ValidationError, places: Places) -> str:
    """The first error: place, key, what was given, what is allowed."""
    first = error.errors(include_url=False)[0]
    key: Key = first["loc"]
    where = f"{places.find(key)}: {dotted(key)}"
    context = first.get("ctx", {})
    match first["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key{_allowed_keys(key[:-1], str(key[-1]))}"
        case "missing":
            return f"{where}: missing"
        case "value_error":
            allowed = str(context["error"])
        case "too_short":
            allowed = f"at least {context['min_length']} of them"
        case "model_type" | "dict_type":
            allowed = "a table"
        case _:
            message = first["msg"].replace("a valid integer", "a whole number").replace("a valid ", "a ")
            allowed = message.removeprefix("Input should be ")
    return f"{where}: {first['input']!r:.60} given; allowed: {allowed}"


def _allowed_keys(key: Key, given: str) -> str:
    """What may stand in the table at ``key``, the nearest to ``given`` if there is one."""
    tables = (BudgetTable, OptimiserTable, TuneTable, CostTable, ResourcesTable, TargetTable)
    models: dict[str, type[Table]] = {table.__name__.removesuffix("Table").lower(): table for table in tables}
    top = str(key[0]) if key else ""
    # The only table inside a method or a data set is its budget.
    model = LimitsTable if top in ("methods", "datasets") else models[top] if key else Spec
    return did_you_mean(given, model.model_fields)
