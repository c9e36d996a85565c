"""Price paths made of nothing but a seed and an instant: hashed multifractal Brownian motion.

A path is Brownian motion in a trading time of its own (Mandelbrot, Fisher and Calvet 1997, "A
Multifractal Model of Asset Returns"): an interval holds a mass of trading time, its two halves
share that mass in a hashed proportion, and its midpoint is the Brownian bridge between its ends
over those two masses (Lévy's construction). So returns are uncorrelated, their sizes cluster on
every scale and their variance grows with time. The ends of the coarsest intervals (cells) follow a
first-order autoregression, which keeps a path near its level for ever.

Every number hangs on (series key, level, position) only, through a counter-based hash and
arithmetic that IEEE 754 fixes to the last bit. What else was asked, in which order, by which
process, changes nothing.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

HOUR_LEVEL = 10
LEAF_LEVEL = 14
HOURS_PER_CELL = 1 << HOUR_LEVEL
LEAVES_PER_HOUR = 1 << (LEAF_LEVEL - HOUR_LEVEL)
# Between two leaves (225 s) a path is straight in its logarithm: whatever instant is asked for, the
# price lies between two samples, and so inside the candle that is made of them.
LEAF_MICROSECONDS = 3_600_000_000 // LEAVES_PER_HOUR

YEARS_PER_CELL = HOURS_PER_CELL / 8766
# A displacement decays over half a year: exp(-YEARS_PER_CELL / 0.5), written out so that no
# library's exp decides it. 32 cells back its weight is 0.0006 and the sum may stop. So a path lies
# about its level with a deviation of 0.54, for ever, and is hardly pulled within a month.
CELL_MEMORY = 0.7916547
CELLS_REMEMBERED = 32
# The share of trading time that falls to the first half of an interval, and a cell's mass.
LEAST_SHARE, SHARE_SPREAD = 0.27, 0.46
LEAST_CELL_MASS, CELL_MASS_SPREAD = 0.5, 1.0

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LANES = np.uint64(0x0000FFFF0000FFFF)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_SHARE_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True, slots=True)
class UnitPaths:
    """Paths of one standard deviation a year around 0, one a row.

    `values` has a column for every leaf from the first hour's opening to the last hour's end, both
    inclusive; `activity` one for every hour: its trading time over the mean, 1 on average.
    """

    values: Floats
    activity: Floats


def unit_paths(keys: Keys, first_hour: int, hours: int) -> UnitPaths:
    """The paths of these series over `hours` whole hours from `first_hour` (since the epoch)."""
    low, high = _cells_around(first_hour, hours)
    values, masses = _cell_ends(keys, low, high)
    activity = masses
    for level in range(1, LEAF_LEVEL + 1):
        values, masses = _halve(keys, level, low, values, masses)
        first = _at_level(first_hour, level)
        last = -_at_level(-(first_hour + hours), level)
        start, stop = first - 2 * low, last - 2 * low
        values, masses, low = values[:, start : stop + 1], masses[:, start:stop], first
        if level == HOUR_LEVEL:
            activity = masses * (HOURS_PER_CELL / YEARS_PER_CELL)
    return UnitPaths(values, activity)


def series_key(*names: object) -> int:
    """The 64-bit key of a series by its names, the same in every process."""
    text = "/".join(map(str, names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def hashed_fraction(*names: object) -> float:
    """A number in [0, 1) that hangs on the names alone."""
    return (series_key(*names) >> 11) * 2.0**-53


def uniform(keys: Keys, positions: NDArray[np.int64]) -> Floats:
    """Hashed numbers in [0, 1), a row a key and a column a position."""
    hashed = _hash(keys, LEAF_LEVEL + 1, positions)
    return (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _cells_around(first_hour: int, hours: int) -> tuple[int, int]:
    return first_hour >> HOUR_LEVEL, -(-(first_hour + hours) >> HOUR_LEVEL)


def _at_level(hour: int, level: int) -> int:
    """The position at a level of the interval that holds the opening of an hour."""
    shift = HOUR_LEVEL - level
    return hour >> shift if shift > 0 else hour << -shift


def _cell_ends(keys: Keys, low: int, high: int) -> tuple[Floats, Floats]:
    """The values at the ends of the cells `low`..`high`, and the masses between, in years."""
    cells = np.arange(low - CELLS_REMEMBERED, high, dtype=np.int64)
    hashed = _hash(keys, 0, cells)
    masses = YEARS_PER_CELL * (LEAST_CELL_MASS + CELL_MASS_SPREAD * _fraction(hashed))
    steps = np.sqrt(masses) * _normal(hashed)
    width = high - low + 1
    values = np.zeros((len(keys), width))
    weight = 1.0
    for age in range(CELLS_REMEMBERED):
        offset = CELLS_REMEMBERED - 1 - age
        values += weight * steps[:, offset : offset + width]
        weight *= CELL_MEMORY
    return values, masses[:, CELLS_REMEMBERED:]


def _halve(
    keys: Keys, level: int, low: int, values: Floats, masses: Floats
) -> tuple[Floats, Floats]:
    """Put a node into the middle of every interval; `low` is the position of the first."""
    positions = np.arange(low, low + masses.shape[1], dtype=np.int64)
    hashed = _hash(keys, level, positions)
    share = LEAST_SHARE + SHARE_SPREAD * _fraction(hashed)
    first_half = masses * share
    second_half = masses - first_half
    left = values[:, :-1]
    middle = left + share * (values[:, 1:] - left)
    middle += np.sqrt(first_half * (1.0 - share)) * _normal(hashed)
    return _interleave(values, middle), _interleave(first_half, second_half)


def _interleave(even: Floats, odd: Floats) -> Floats:
    merged = np.empty((even.shape[0], even.shape[1] + odd.shape[1]))
    merged[:, 0::2] = even
    merged[:, 1::2] = odd
    return merged


def _hash(keys: Keys, level: int, positions: NDArray[np.int64]) -> Keys:
    """One SplitMix64 stream a key and level, read at any position (Steele, Lea, Flood 2014)."""
    streams = _mixed(keys + np.full(1, level + 1, dtype=np.uint64) * _SHARE_MULTIPLIER)
    counters: Keys = streams[:, None] + positions.astype(np.uint64)[None, :] * _GAMMA
    return _mixed(counters)


def _mixed(state: Keys) -> Keys:
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


def _normal(hashed: Keys) -> Floats:
    """Nearly normal: the sum of the hash's four 16-bit lanes, to mean 0 and deviation 1."""
    pairs = (hashed & _LANES) + ((hashed >> np.uint64(16)) & _LANES)
    total = (pairs & _LOW_HALF) + (pairs >> np.uint64(32))
    return (total.astype(np.float64) - 131_070.0) * (1 / 37_837.227)


def _fraction(hashed: Keys) -> Floats:
    """A number in [0, 1) that shares no lane with the normal of the same hash."""
    return ((hashed * _SHARE_MULTIPLIER) >> np.uint64(32)).astype(np.float64) * 2.0**-32
