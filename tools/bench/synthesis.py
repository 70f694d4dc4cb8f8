"""Time and memory of synthesis and type checks: ours, with the whole provider package, and CDK's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from synthesis.paths import BUILD, ROOT
from tools.bench.measuring import RUNS, Result, Run, Section, environment, in_turns, median_mib, median_seconds, run
from tools.develop.setup import BENCH, PROJECT, prepare
from tools.operate.synthesize import synthesize

Progress = Callable[[str], None]

STOCK = {"SLUICE_STOCK_CDKTF": "1"}
PEER = ROOT / "tools" / "bench" / "peers" / "aws_cdk_app.py"
MANY = 50
LINEAR = (1, 10, 50, 100)
# jsii's package cache (jsii, "Package cache").
CACHE = "JSII_RUNTIME_PACKAGE_CACHE_ROOT"


def _variables(**more: str) -> dict[str, str]:
    """Return the variables of the environment `dev`, which also silence jsii's banner about the version of Node.js."""
    quiet = {"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": ",".join(str(major) for major in range(20, 41))}
    return environment(ENVIRONMENT="dev", **quiet, **more)


def _sluice(folder: Path, **more: str) -> Run:
    return run([PROJECT.python, ROOT / "main.py"], variables=_variables(CDKTF_OUTDIR=str(folder / "out"), **more))


def _empty_cache(folder: Path, **more: str) -> Run:
    cache = Path(tempfile.mkdtemp(dir=folder))
    try:
        return _sluice(folder, **{CACHE: str(cache)}, **more)
    finally:
        shutil.rmtree(cache)


def _many(folder: Path, count: int, **more: str) -> Run:
    out = folder / "many"
    shutil.rmtree(out, ignore_errors=True)
    return run([PROJECT.python, "-m", "tools.bench.many_environments", str(count), out], variables=_variables(**more))


def synthesis(progress: Progress) -> Section:
    """Measure one environment in a new process, with byte code and jsii's cache in place."""
    prepare(BENCH)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inventory = synthesize(folder / "inventory", {"ENVIRONMENT": "dev"}) / "cdk.tf.json"
        peer: list[str | Path] = [BENCH.python, PEER, inventory, folder / "cdk"]
        ours, stock, cdk, unchecked = in_turns(
            partial(_sluice, folder),
            partial(_sluice, folder, **STOCK),
            partial(run, peer, variables=_variables()),
            partial(run, [*peer, "--no-validation"], variables=_variables()),
            progress=progress,
        )
        resources = inventory.read_text().count('"uniqueId":')
    mine = median_seconds(ours)
    return Section(
        "Synthesis of one environment",
        [
            Result("cold synthesis", "the provider package imported whole", mine, median_seconds(stock), "s", 0.08),
            Result("cold synthesis", "aws-cdk-lib, Python", mine, median_seconds(cdk), "s", 0.35),
            Result(
                "cold synthesis",
                "aws-cdk-lib without its validation of templates",
                mine,
                median_seconds(unchecked),
                "s",
                0.35,
            ),
            Result(
                "peak memory", "the provider package imported whole", median_mib(ours), median_mib(stock), "MiB", 0.25
            ),
        ],
        [f"A new process each time, with byte code and jsii's cache in place; {resources} elements of Terraform."],
    )


def empty_cache(progress: Progress) -> Section:
    """Measure one environment with an empty jsii cache: the first synthesis on a machine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, stock = in_turns(partial(_empty_cache, folder), partial(_empty_cache, folder, **STOCK), progress=progress)
    return Section(
        "Synthesis with an empty jsii cache",
        [Result("synthesis, empty jsii cache", "stock, empty", median_seconds(ours), median_seconds(stock), "s", 0.20)],
    )


def environments(progress: Progress) -> Section:
    """Measure many environments in one app, and whether the time grows linearly."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, stock = in_turns(
            partial(_many, folder, MANY), partial(_many, folder, MANY, **STOCK), warm_up=False, progress=progress
        )
        points = {MANY: median_seconds(ours)}
        for count in LINEAR:
            if count != MANY:
                # The largest takes minutes, and says how straight the line is, not how steep.
                runs = RUNS if count < MANY else 1
                (several,) = in_turns(partial(_many, folder, count), runs=runs, warm_up=False)
                points[count] = median_seconds(several)
                progress(f"{count} environments")
    first, last = min(points), max(points)
    each = (points[last] - points[first]) / (last - first)
    off = max(abs(points[first] + each * (count - first) - seconds) / seconds for count, seconds in points.items())
    cells = " | ".join(f"{points[count]:.2f}" for count in sorted(points))
    return Section(
        "Many environments in one app",
        [Result(f"{MANY} environments", f"stock, {MANY}", median_seconds(ours), median_seconds(stock), "s", 0.30)],
        [
            f"| environments | {' | '.join(str(count) for count in sorted(points))} |",
            f"|---|{'---|' * len(points)}",
            f"| seconds | {cells} |",
            "",
            f"{each:.2f} s an environment; the point furthest from the straight line is {off:.0%} off it.",
        ],
    )


def types(progress: Progress) -> Section:
    """Measure `mypy --strict` on the whole tree with an empty cache."""

    def check(folder: Path, bindings: Path) -> Run:
        cache = Path(tempfile.mkdtemp(dir=folder))
        try:
            variables = environment(MYPYPATH=str(bindings))
            return run([PROJECT.python, "-m", "mypy", f"--cache-dir={cache}", *arguments], variables=variables)
        finally:
            shutil.rmtree(cache)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Without mypy_path, mypy finds the installed package; the rest of its settings stays.
        configuration = folder / "pyproject.toml"
        lines = (ROOT / "pyproject.toml").read_text().splitlines(keepends=True)
        configuration.write_text("".join(line for line in lines if not line.startswith("mypy_path")))
        arguments = ["--config-file", str(configuration)]
        ours, stock = in_turns(
            partial(check, folder, BUILD / "bindings" / "current"),
            partial(check, folder, folder / "nothing"),
            warm_up=False,
            progress=progress,
        )
    return Section(
        "Type checks",
        [
            Result(
                "mypy --strict, cold",
                "with the whole provider package",
                median_seconds(ours),
                median_seconds(stock),
                "s",
                0.10,
            ),
            Result(
                "mypy, peak memory", "with the whole provider package", median_mib(ours), median_mib(stock), "MiB", 0.25
            ),
        ],
    )
