"""``ebmark merge``."""

from __future__ import annotations

from collections.abc import Sequence

from ebmark.console import Console
from ebmark.costlane import write_lane
from ebmark.errors import StoreError
from ebmark.locations import Location, holds_results
from ebmark.merging import Merged, Source, merged, source
from ebmark.parts import one_line_errors, open_file, sync_folder, write_atomic
from ebmark.planfile import write_plan
from ebmark.store import Store, done
from ebmark.tables import model_path, readable, samples_path


def merge(console: Console, folders: Sequence[Location], out: Location) -> None:
    """Writes one results folder from several, and says what they had in common.

    Raises:
        StoreError: one of them is no results folder, or ``out`` holds results already.
    """
    if len(folders) < 2:
        raise StoreError(f"merge: {len(folders)} folder given; allowed: two or more, and -o for the new one")
    _must_be_new(out)
    sources = [source(folder) for folder in folders]
    for one in sources:
        for warning in one.warnings:
            console.say(f"warning: {warning}")
    made = merged(sources)
    with Store(out) as store:
        _must_be_new(out)  # another merge may have ended meanwhile
        files = _copy_files(sources, made, out)
        if made.spec:
            store.write_spec(made.spec)
        write_lane(out, made.lane)
        write_plan(out, made.plan)
        store.add(made.tables)  # last: a merge that was cut short has no trials and may be given again
    _tell(console, sources, made, out, files)


def _must_be_new(out: Location) -> None:
    with readable(out):
        there = holds_results(out)
    if there and len(done(out)):
        raise StoreError(f"{out}: holds results already; allowed: a new folder, which may be merged further")


def _copy_files(sources: Sequence[Source], made: Merged, out: Location) -> int:
    """Copies the samples and models of the trials that were chosen; returns how many."""
    copied = 0
    for name, path in (("samples", samples_path), ("models", model_path)):
        for i, one in enumerate(sources):
            with one_line_errors(one.folder / name):
                there = {file.name for file in (one.folder / name).glob("*.*")}
            chosen = (id for id, origin in made.origin.items() if origin == i)
            for id in chosen:
                if path(out, id).name in there:
                    with readable(path(one.folder, id)), open_file(path(one.folder, id)) as file:
                        content = file.read()
                    write_atomic(path(out, id), content, sync=False)
                    copied += 1
        with one_line_errors(out / name):
            sync_folder(out / name)
    return copied


def _tell(console: Console, sources: Sequence[Source], made: Merged, out: Location, files: int) -> None:
    counts = [sum(origin == i for origin in made.origin.values()) for i in range(len(sources))]
    for one, n in zip(sources, counts, strict=True):
        console.say(f"{one.folder}: {n} of its {len(one.tables['trials'])} trials")
    console.say(
        f"{made.doubles} trials were in several: the newest that is ok was taken; "
        f"{made.unequal} of them had ended well with other values"
    )
    if made.foreign:
        console.say(
            f"{made.foreign} cost measurements of other runs do not compare with the rest of the lane and "
            "are marked so: run the study again to measure it whole"
        )
    specs = {one.spec for one in sources if one.spec}
    if len(specs) > 1:
        console.say(f"{len(specs)} different study files: {out / 'spec.toml'} is that of {sources[0].folder}")
    console.say(f"{out}: {len(made.origin)} trials and {files} files of theirs; next: ebmark report {out}")
    console.document(
        {
            "folder": str(out),
            "from": {str(one.folder): n for one, n in zip(sources, counts, strict=True)},
            "trials": len(made.origin),
            "files": files,
            "doubles": made.doubles,
            "unequal": made.unequal,
            "foreign": made.foreign,
            "specs": len(specs),
        }
    )
