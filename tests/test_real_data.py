"""Real data: splits, scale and hashes; one's own files; published files, made here in their small."""

import dataclasses
import gzip
import hashlib
import math
import struct

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from ebmark import registry
from ebmark.api import Rng
from ebmark.datasets.breast_cancer import BreastCancer
from ebmark.datasets.diabetes import Diabetes
from ebmark.datasets.file import File
from ebmark.datasets.published import cut
from ebmark.datasets.wine import Wine
from ebmark.env import describe
from ebmark.errors import EbmarkError, SpecError
from ebmark.execute import Place, execute
from ebmark.plan import Study
from ebmark.study import load
from ebmark.trial import Budget, Trial

TABLES = {
    BreastCancer(): load_breast_cancer().data,
    Wine(): load_wine().data,
    Diabetes(): np.delete(load_diabetes(scaled=False).data, 1, axis=1),
}


def stream(*key: object, dtype: torch.dtype = torch.float64) -> Rng:
    return Rng.of("test_real_data", *key, dtype=dtype)


def fails(error: type[EbmarkError], *facts: str, run) -> None:
    """``run`` raises one line that holds every fact."""
    with pytest.raises(error) as caught:
        run()
    message = str(caught.value)
    assert "\n" not in message
    for fact in facts:
        assert fact in message


# ---------------------------------------------------------------------------------- shipped with scikit-learn


@pytest.mark.parametrize("target", TABLES, ids=repr)
def test_splits_cover_every_row_once(target):
    raw = TABLES[target]
    splits = target.splits()
    parts = (splits.train, splits.val, splits.test)
    held_out = round(0.15 * len(raw))
    sizes = (len(raw) - 2 * held_out, held_out, held_out)
    assert [p.shape for p in parts] == [(n, target.dim) for n in sizes]
    assert all(p.dtype == torch.float32 for p in parts)
    mean, sd = target.scale()
    distance = torch.cdist(torch.cat(parts).double(), (torch.from_numpy(raw) - mean) / sd)
    assert distance.amin(1).max() < 1e-4
    assert sorted(distance.argmin(1).tolist()) == list(range(len(raw)))


@pytest.mark.parametrize("target", TABLES, ids=repr)
def test_training_rows_have_mean_0_and_variance_1(target):
    train = target.splits().train.double()
    assert train.mean(0).numpy() == pytest.approx(0, abs=1e-5)
    assert train.var(0, correction=0).numpy() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("target", TABLES, ids=repr)
def test_log_det_is_that_of_the_scale(target):
    x = target.sample(7, stream("scale"))
    sd = TABLES[target].std(0)
    assert target.log_det(x).shape == (7,)
    assert target.log_det(x)[0].item() == pytest.approx(-np.log(sd).sum(), abs=0.1 * target.dim)
    gaussian = stats.norm.logpdf(x.numpy()).sum(-1) + target.log_det(x).numpy()
    mean, sd = (part.numpy() for part in target.scale())
    raw = x.numpy() * sd + mean
    np.testing.assert_allclose(gaussian, stats.norm.logpdf(raw, mean, sd).sum(-1), rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("target", TABLES, ids=repr)
def test_samples_are_training_rows_and_follow_the_stream(target, dtype):
    train = {tuple(row) for row in target.splits().train.tolist()}
    x = target.sample(300, stream("rows", dtype=dtype))
    assert x.dtype == dtype
    assert all(tuple(row) in train for row in x.float().tolist())
    assert torch.equal(x, target.sample(300, stream("rows", dtype=dtype)))
    assert len({tuple(row) for row in x.tolist()}) > 0.5 * min(300, len(train))


# --------------------------------------------------------------------------------------------- one's own file


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(3).normal([1.0, -200.0, 0.0], [0.5, 30.0, 1e-3], (60, 3))


def save(path, rows: np.ndarray):
    frame = pd.DataFrame(rows, columns=[*"abc"])
    match path.suffix.lower():
        case ".npy":
            np.save(path, rows)
        case ".npz":
            np.savez(path, data=rows)
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "parquet"])
def test_every_format_holds_the_same_rows(suffix, rows, tmp_path):
    target = File(path=str(save(tmp_path / f"data.{suffix}", rows)))
    splits = target.splits()
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [42, 9, 9]
    assert target.dim == 3
    mean, sd = target.scale()
    found = torch.cat([splits.train, splits.val, splits.test]).double() * sd + mean
    np.testing.assert_allclose(found[found[:, 0].argsort()], rows[rows[:, 0].argsort()], rtol=1e-5, atol=1e-5)
    np.save(tmp_path / "again.npy", rows)
    assert torch.equal(splits.test, File(path=str(tmp_path / "again.npy")).splits().test)


def test_a_csv_of_numbers_needs_no_header_and_a_vector_is_a_column(rows, tmp_path):
    np.savetxt(tmp_path / "bare.csv", rows, delimiter=", ")
    assert len(File(path=str(tmp_path / "bare.csv"))._table()) == 60
    np.save(tmp_path / "line.npy", rows[:, 0])
    assert File(path=str(tmp_path / "line.npy")).dim == 1
    named = np.zeros(30, dtype=[("height", "f4"), ("age", "i8")])
    named["height"], named["age"] = np.arange(30), np.arange(30) % 7
    np.save(tmp_path / "named.npy", named)
    assert File(path=str(tmp_path / "named.npy")).dim == 2


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ([0.5, math.nan, 1.0], "column 'b': nan in row 2, 20 in all; allowed: finite numbers"),
        ([0.5, math.inf, 1.0], "column 'b': inf in row 2, 20 in all; allowed: finite numbers"),
        ([4.0, 4.0, 4.0], "column 'b': constant, 4 in every row; remove it"),
        (["x", "y", "z"], "column 'b': not numeric, 'x' in row 1; remove it or encode it as numbers"),
    ],
)
def test_a_column_that_cannot_be_learned_is_named(column, fault, tmp_path):
    pd.DataFrame({"a": range(60), "b": column * 20}).to_parquet(tmp_path / "data.parquet")
    path = str(tmp_path / "data.parquet")
    fails(SpecError, f"file.path: {path}: {fault}", run=lambda: registry.ref("dataset", path))


def test_a_column_that_is_constant_in_the_training_rows_is_refused(rows, tmp_path):
    rows[:, 1] = 0
    rows[Rng.of("file", "order").permutation(60)[-1], 1] = 1  # the last row of the test set
    path = str(save(tmp_path / "data.npy", rows))
    fact = "file: column 2: constant in the training rows; remove it"
    fails(SpecError, fact, run=lambda: registry.ref("dataset", path))


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("none.npy", None, "none.npy: cannot be read: No such file or directory"),
        ("text.npy", b"hello", "text.npy: cannot be read: "),
        ("text.npz", b"hello", "text.npz: cannot be read: "),
        ("text.parquet", b"hello", "text.parquet: cannot be read: "),
        ("empty.csv", b"", "empty.csv: cannot be read: No columns to parse from file"),
        ("latin.csv", b"a,b\n\xff\xfe,1\n", "latin.csv: cannot be read: 'utf-8' codec"),
        ("short.csv", b"a,b\n1,2\n", "short.csv: 1 rows, 2 columns; allowed: 20 rows or more"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(name, content, fault, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    fails(SpecError, "file.path: ", fault, run=lambda: registry.ref("dataset", str(tmp_path / name)))


def test_arrays_of_the_wrong_shape_are_refused(rows, tmp_path):
    np.savez(tmp_path / "two.npz", one=rows, two=rows)
    np.save(tmp_path / "cube.npy", rows[None])
    np.save(tmp_path / "objects.npy", rows.astype(object))
    for name, fact in (
        ("two.npz", "arrays one, two; allowed: one array"),
        ("cube.npy", "an array (1, 60, 3); allowed: (rows, columns)"),
        ("objects.npy", "cannot be read: Object arrays cannot be loaded"),
    ):
        fails(SpecError, fact, run=lambda name=name: registry.ref("dataset", str(tmp_path / name)))


def test_settings_of_a_file_are_checked():
    fails(SpecError, "file.path: 'data.txt' given; allowed: a path to", run=lambda: File(path="data.txt"))
    fails(SpecError, "file.sha256: 'ab' given", run=lambda: File(path="data.npy", sha256="ab"))
    fails(SpecError, "datasets: file.path: missing", run=lambda: registry.ref("dataset", "file"))


# ------------------------------------------------------------------------------------------------ hash and id


def trial(ref) -> Trial:
    return Trial(
        seed=0,
        method=registry.ref("method", "dsm"),
        dataset=ref,
        network=registry.ref("network", "mlp"),
        budget=Budget(steps=8),
    )


def test_a_trial_knows_the_rows_and_not_where_they_lie(rows, tmp_path):
    one = registry.ref("dataset", str(save(tmp_path / "one.npy", rows)))
    two = registry.ref("dataset", str(save(tmp_path / "two.npy", rows)))
    other = registry.ref("dataset", str(save(tmp_path / "other.npy", 2 * rows)))
    assert one.name == "file"
    assert hashlib.sha256((tmp_path / "one.npy").read_bytes()).hexdigest() in one.args
    assert one != two
    assert trial(one).id == trial(two).id != trial(other).id
    assert one.content == two.content
    assert str(tmp_path) not in one.content
    assert registry.label(one) == f"file[path={tmp_path / 'one.npy'}]"
    assert torch.equal(registry.make(one).splits().train, registry.make(two).splits().train)


def test_ids_of_other_data_sets_are_those_of_all_their_settings():
    ref = registry.ref("dataset", "gaussian", dim=3)
    assert ref.content == ref.args


def test_a_file_that_changes_after_planning_is_refused(rows, tmp_path):
    ref = registry.ref("dataset", str(save(tmp_path / "data.npy", rows)))
    target = registry.make(ref)
    target.splits()
    save(tmp_path / "data.npy", rows[:-1])
    fails(SpecError, "file.sha256: ", "data.npy has changed: ", " when planned, now ", run=target.splits)


STUDY = """
name = "own"
metrics = ["nll"]
[[methods]]
name = "dsm"
[[datasets]]
name = "gaussian"
[network]
name = "mlp"
[budget]
steps = 3
"""


def plan(tmp_path, *datasets: str) -> Study:
    (tmp_path / "own.toml").write_text(STUDY)
    return load(tmp_path / "own.toml", datasets=datasets)


def test_a_path_on_the_command_line_is_a_data_set(rows, tmp_path):
    path = str(save(tmp_path / "data.csv", rows))
    (cell,) = plan(tmp_path, path).cells
    assert (cell.dataset.name, cell.dim) == ("file", 3)
    missing = str(tmp_path / "none.csv")
    fails(SpecError, f"--dataset {missing}: file.path: {missing}", run=lambda: plan(tmp_path, missing))


def test_a_trial_on_own_data_knows_its_dimension_and_label(rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "data.csv", rows)
    (cell,) = plan(tmp_path, "data.csv").cells
    record = execute(trial(cell.dataset), Place(env=describe()))
    row = record.trial
    (scale,) = (point["value"] for point in record.curve if point["metric"] == "log_det")
    assert scale == pytest.approx(-np.log(rows.std(0)).sum(), abs=0.5)
    assert (row["status"], row["dataset"], row["dim"]) == ("ok", "file", 3)
    assert row["dataset_label"] == "file[path=data.csv]"


# ---------------------------------------------------------------------------------- published files, in small


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def make_power(folder):
    np.save(folder / "data.npy", 10 * normal(200, 8))


def make_gas(folder):
    """Sixteen sensors, the second half copies of the first; of each pair the first is dropped."""
    sensors = normal(200, 8)
    both = np.hstack([sensors, 3 * sensors + 0.01 * normal(200, 8, seed=1)])
    frame = pd.DataFrame(both, columns=[f"Sensor{i}" for i in range(16)])
    frame.insert(0, "Time", np.arange(200.0))
    frame.insert(1, "Meth", 0.0)
    frame.insert(2, "Eth", 1.0)
    frame.to_pickle(folder / "ethylene_CO.pickle")


def make_hepmass(folder):
    for name, n, extra in (("1000_train.csv", 300, 0), ("1000_test.csv", 100, 1)):
        rows = normal(n, 27, seed=n)
        rows[:, 21:] = rows[:, 21:] > 0  # repeated values
        frame = pd.DataFrame(np.hstack([np.arange(n)[:, None] % 2, rows, np.full((n, extra), 1000.0)]))
        frame.to_csv(folder / name, index=False)


def make_miniboone(folder):
    np.save(folder / "data.npy", 5 + normal(200, 43))


def make_bsds300(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "BSDS300.hdf5", "w") as file:
        for name, n in (("train", 50), ("validation", 10), ("test", 20)):
            file[name] = normal(n, 63, seed=n)


def make_mnist(folder):
    for name, n in (("train-images-idx3-ubyte.gz", 60), ("t10k-images-idx3-ubyte.gz", 10)):
        pixels = np.random.default_rng(n).integers(0, 256, (n, 784), dtype=np.uint8)
        (folder / name).write_bytes(gzip.compress(struct.pack(">4i", 2051, n, 28, 28) + pixels.tobytes()))


PUBLISHED = {
    "power": (make_power, (162, 18, 20)),
    "gas": (make_gas, (162, 18, 20)),
    "hepmass": (make_hepmass, (135, 15, 50)),
    "miniboone": (make_miniboone, (162, 18, 20)),
    "bsds300": (make_bsds300, (50, 10, 20)),
    "mnist": (make_mnist, (50, 10, 10)),
}


def published(name: str, folder, monkeypatch):
    """The data set made from small files below ``folder``, by way of its Ref."""
    where = folder / registry.get("dataset", name).files[0].split("/")[0]
    where.mkdir()
    PUBLISHED[name][0](where)
    monkeypatch.setenv("EBMARK_DATA", str(folder))
    return registry.make(registry.ref("dataset", name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_read_and_their_hash_is_reported(name, tmp_path, monkeypatch):
    target = published(name, tmp_path, monkeypatch)
    splits = target.splits()
    shapes = [tuple(p.shape) for p in (splits.train, splits.val, splits.test)]
    assert shapes == [(n, target.dim) for n in PUBLISHED[name][1]]
    assert splits.train.dtype == torch.float32
    raw = b"".join((tmp_path / file).read_bytes() for file in target.files)
    assert target.sha256 == hashlib.sha256(raw).hexdigest()
    ref = registry.ref("dataset", name, folder=str(tmp_path))
    assert registry.label(ref) == name
    assert ref.content == registry.ref("dataset", name).content
    assert target.sample(5, stream("published")).dtype == torch.float64


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_published_files_say_what_to_download(name, tmp_path, monkeypatch):
    monkeypatch.delenv("EBMARK_DATA", raising=False)
    first = registry.get("dataset", name).files[0]
    facts = (
        f"{name}.folder: ",
        f"{first}",
        ": not found; download ",
        " https://",
        f"set EBMARK_DATA or {name}.folder to ",
    )
    fails(SpecError, *facts, run=lambda: registry.ref("dataset", name))
    fails(SpecError, str(tmp_path / first), run=lambda: registry.ref("dataset", name, folder=str(tmp_path)))


def test_a_study_cannot_name_a_pickle(tmp_path, monkeypatch):
    """The file would say what to run; only the user's own environment may lead to one."""
    target = published("gas", tmp_path, monkeypatch)
    monkeypatch.setenv("EBMARK_DATA", str(tmp_path / "elsewhere"))
    named = dataclasses.replace(target, folder=str(tmp_path))
    fails(SpecError, "gas.folder: ", "a pickle", f"export EBMARK_DATA={tmp_path}", run=named.splits)


@pytest.mark.parametrize("name", ["power", "gas", "hepmass", "miniboone", "mnist"])
def test_damaged_published_files_are_one_line(name, tmp_path, monkeypatch):
    target = published(name, tmp_path, monkeypatch)
    (tmp_path / target.files[0]).write_bytes(b"a,b\n1,2\n")
    fails(SpecError, f"{name}.sha256: ", "differs: ", run=target.splits)
    changed = registry.make(registry.ref("dataset", name))
    fails(SpecError, f"{name}.folder: ", target.files[0], run=changed.splits)


def test_power_has_the_published_order_and_noise(tmp_path, monkeypatch):
    splits = published("power", tmp_path, monkeypatch).splits()
    raw = 10 * normal(200, 8)
    rng = np.random.RandomState(42)
    rng.shuffle(raw)
    rows = raw[:, [0, 2, 4, 5, 6, 7]]
    rows[:, 1:2] += 0.01 * rng.rand(200, 1)
    rows[:, 0:1] += 0.001 * rng.rand(200, 1)
    rows[:, 2:5] += rng.rand(200, 3)
    rows = (rows - rows[:180].mean(0)) / rows[:180].std(0)
    for part, expected in zip(
        (splits.train, splits.val, splits.test), np.split(rows, [162, 180]), strict=True
    ):
        np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)


def test_gas_keeps_the_last_of_sensors_that_agree(tmp_path, monkeypatch):
    splits = published("gas", tmp_path, monkeypatch).splits()
    rows = 3 * normal(200, 8) + 0.01 * normal(200, 8, seed=1)
    rows = (rows - rows.mean(0)) / rows.std(0, ddof=1)
    np.testing.assert_allclose(torch.cat([splits.train, splits.val, splits.test]), rows, rtol=1e-4, atol=1e-5)


def test_hepmass_keeps_the_signal_and_the_continuous_columns(tmp_path, monkeypatch):
    splits = published("hepmass", tmp_path, monkeypatch).splits()
    train, test = (normal(n, 27, seed=n)[1::2, :21] for n in (300, 100))
    mean, sd = train.mean(0), train.std(0, ddof=1)
    np.testing.assert_allclose(
        torch.cat([splits.train, splits.val]), (train - mean) / sd, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(splits.test, (test - mean) / sd, rtol=1e-4, atol=1e-5)


def test_miniboone_is_standardised_by_what_is_not_tested(tmp_path, monkeypatch):
    splits = published("miniboone", tmp_path, monkeypatch).splits()
    seen = torch.cat([splits.train, splits.val]).double()
    assert seen.mean(0).numpy() == pytest.approx(0, abs=1e-5)
    assert seen.var(0, correction=0).numpy() == pytest.approx(1, abs=1e-5)


def test_mnist_pixels_are_dequantised_and_come_back(tmp_path, monkeypatch):
    target = published("mnist", tmp_path, monkeypatch)
    splits = target.splits()
    pixels = np.random.default_rng(60).integers(0, 256, (60, 784), dtype=np.uint8)
    alpha = 1e-6
    x = torch.cat([splits.train, splits.val]).double()
    y = 256 * (x.sigmoid() - alpha) / (1 - 2 * alpha)
    middle = (pixels > 0) & (pixels < 255)  # in float32 the ends of the logit may round into the next level
    noise = (y.numpy() - pixels)[middle]
    assert np.abs(noise - 0.5).max() < 0.501
    assert stats.kstest(noise, "uniform").pvalue > 1e-3
    point = torch.tensor([0.3], dtype=torch.float64)
    slope = (1 - 2 * alpha) / (point.sigmoid() * (1 - point.sigmoid()))  # dx/dy
    assert target.log_det(point).item() == pytest.approx(math.log(slope.item()), rel=1e-10)


def test_a_tenth_is_tested_and_a_tenth_of_the_rest_validates():
    assert [len(part) for part in cut(np.zeros((2_049_280, 1)))] == [1_659_917, 184_435, 204_928]  # POWER
    assert [len(part) for part in cut(np.zeros((36_488, 1)))] == [29_556, 3284, 3648]  # MINIBOONE
