#!/usr/bin/env python3
"""Prints the tables of `src/kernel/loops/int8/cell.rs`: activations in whole numbers, a polynomial of degree 2 each interval.

The polynomial through Chebyshev's nodes is rounded to whole numbers; of those around it the ones are taken whose largest
error, computed as the kernel computes, is the least. Standard library only.
"""

import math
from collections.abc import Callable

# Numbers of 16 bits times this have an interval in their high half and the distance from its middle in their low half.
INTERVALS = 15

# Largest argument of a tanh and of a sigmoid, and what 1 is in the cell state: as `src/kernel/loops/int8/mod.rs` has them.
TANH_LIMIT, SIGMOID_LIMIT, CELL_ONE = 4, 10, 4096


def mul_round(a: int, b: int) -> int:
    return (a * b + 16384) >> 15


def value(coefficients: tuple[int, ...], distance: int) -> int:
    c0, c1, c2 = coefficients
    return c0 + mul_round(distance, c1 + mul_round(distance, c2))


def through_nodes(function: Callable[[float], float], interval: int) -> list[int]:
    """Coefficients by power of the distance from the middle, in half widths."""
    x = [math.cos((2 * node + 1) * math.pi / 6) for node in range(3)]
    y = [function((interval + node / 2) / INTERVALS) for node in x]
    slope = [(y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])]
    c2 = (slope[1] - slope[0]) / (x[2] - x[0])
    c1 = slope[0] - c2 * (x[0] + x[1])
    return [round(c) for c in (y[0] - x[0] * (c1 + c2 * x[0]), c1, c2)]


def table(name: str, function: Callable[[float], float], largest: int, through_0: bool) -> None:
    """`function` is of an argument from -1 to 1, its values are whole numbers up to `largest`."""
    numbers: dict[int, list[int]] = {}
    for x in range(-32768, 32768):
        numbers.setdefault(mul_round(x, INTERVALS), []).append(x)
    rows, worst = {}, 0.0
    for interval, xs in numbers.items():
        every = [(x * 2 * INTERVALS + 32768) % 65536 - 32768 for x in xs]
        points = [*every[:: max(1, len(xs) // 150)], every[-1]]
        exact = [function((interval + point / 65536) / INTERVALS) for point in points]
        b0, b1, b2 = through_nodes(function, interval)
        best = None
        for c0 in range(b0 - 2, b0 + 3) if interval != 0 or not through_0 else [0]:
            for c1 in range(b1 - 2, b1 + 3):
                for c2 in range(b2 - 2, b2 + 3):
                    values = [value((c0, c1, c2), point) for point in points]
                    error = max(abs(v - e) for v, e in zip(values, exact))
                    if max(values) <= largest and (best is None or error < best[0]):
                        best = (error, (c0, c1, c2))
        rows[interval % 32] = best[1]
        for point in every:
            worst = max(worst, abs(value(best[1], point) - function((interval + point / 65536) / INTERVALS)))
    print(f"// {name}, largest error: {worst:.2f} units")
    for power in range(3):
        print("    [" + ", ".join(str(rows.get(at, (0, 0, 0))[power]) for at in range(32)) + "],")


def main() -> None:
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x * SIGMOID_LIMIT))

    table("TANH", lambda x: 32768 * math.tanh(x * TANH_LIMIT), 32767, True)
    table("SIGMOID", lambda x: 32768 * sigmoid(x), 32767, False)
    table("INPUT_SIGMOID", lambda x: CELL_ONE * sigmoid(x), CELL_ONE, False)


if __name__ == "__main__":
    main()
