"""What is wrong with a text of Prometheus' exposition format; says what `promtool` would, and more.

After the format's description and the naming rules that `promtool check metrics` applies.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

NAME = re.compile(r"[a-z][a-z0-9_]*")
_COMMENT = re.compile(r"# (HELP|TYPE) (\S+) (.+)")
_SHORT_UNITS = {"ms", "s", "us", "ns", "kb", "mb", "b", "min", "pct"}
_OTHER_UNITS = {"milliseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "percent"}
# Of a histogram or a counter; no other kind may look like one.
_RESERVED = ("_total", "_bucket", "_count", "_sum", "_created")


def complaints(text: str) -> list[str]:
    """One sentence for everything that is wrong, none for a sound exposition."""
    families = list(text_string_to_metric_families(text))
    found = [*_headings(text), *_repeated_series(families)]
    for family in families:
        found += _naming(family)
        found += _values(family)
        if family.type == "histogram":
            found += _histogram(family)
    return found


def _headings(text: str) -> Iterator[str]:
    """Each family has one HELP, then one TYPE, then its samples without others between them."""
    if not text.endswith("\n"):
        yield "the last line does not end"
    seen: Counter[tuple[str, str]] = Counter()
    family = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            name = re.split(r"[{ ]", line, maxsplit=1)[0]
            if not family or not name.startswith(family):
                yield f"{name} stands under the heading of {family or 'nobody'}"
            continue
        comment = _COMMENT.fullmatch(line)
        if comment is None:
            yield f"no comment that says anything: {line}"
            continue
        kind, family = comment[1], comment[2]
        seen[kind, family] += 1
        if kind == "TYPE" and not seen["HELP", family]:
            yield f"{family} has its TYPE before its HELP"
    for (kind, name), count in seen.items():
        if count != 1:
            yield f"{name} has {count} times {kind}"
    for name in {name for _, name in seen}:
        if not (seen["HELP", name] and seen["TYPE", name]):
            yield f"{name} lacks HELP or TYPE"


def _repeated_series(families: Iterable[Metric]) -> Iterator[str]:
    series = Counter(
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in families
        for sample in family.samples
    )
    return (f"{name} {labels} stands {n} times" for (name, labels), n in series.items() if n > 1)


def _naming(family: Metric) -> Iterator[str]:
    words = set(family.name.split("_"))
    if not NAME.fullmatch(family.name):
        yield f"{family.name} is no name"
    if words & (_SHORT_UNITS | _OTHER_UNITS):
        yield f"{family.name} has another unit than seconds or bytes in its name"
    if words & {"counter", "gauge", "histogram", "summary"}:
        yield f"{family.name} has its type in its name"
    if family.name.endswith(_RESERVED):
        yield f"{family.name} ends like the samples of another type"
    if family.type == "unknown":
        yield f"{family.name} has no type"
    for sample in family.samples:
        if family.type == "counter" and not sample.name.endswith("_total"):
            yield f"the counter {sample.name} does not end in _total"
        for label in sample.labels:
            # Prometheus sets `job` and `instance` itself.
            if not NAME.fullmatch(label) or label in ("job", "instance"):
                yield f"{sample.name} has the label {label}"
            if label == "le" and family.type != "histogram":
                yield f"{sample.name} is no histogram and has the label le"


def _values(family: Metric) -> Iterator[str]:
    for sample in family.samples:
        if not math.isfinite(sample.value):
            yield f"{sample.name} is {sample.value}"
        if family.type in ("counter", "histogram") and sample.value < 0:
            yield f"{sample.name} is below zero"


def _histogram(family: Metric) -> Iterator[str]:
    """Every series has its buckets in order, cumulative, up to +Inf, and a count that fits."""
    series: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        series.setdefault(tuple(sorted(labels.items())), []).append(sample)
    for labels, samples in series.items():
        of = f"{family.name} {dict(labels)}"
        buckets = [
            (float(sample.labels["le"]), sample.value)
            for sample in samples
            if sample.name == f"{family.name}_bucket"
        ]
        rest = {sample.name: sample.value for sample in samples if "le" not in sample.labels}
        if set(rest) != {f"{family.name}_sum", f"{family.name}_count"}:
            yield f"{of} lacks its sum or count"
        if buckets != sorted(buckets) or [n for _, n in buckets] != sorted(n for _, n in buckets):
            yield f"{of} is not cumulative"
        if not buckets or buckets[-1] != (math.inf, rest.get(f"{family.name}_count")):
            yield f"{of} does not end with +Inf and its count"
