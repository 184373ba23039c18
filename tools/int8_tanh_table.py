#!/usr/bin/env python3
"""Prints the table of `src/kernel/loops/int8/cell.rs`: tanh in whole numbers, a polynomial of degree 2 for each interval.

The polynomial through Chebyshev's nodes is rounded to units of 1/32768; of the whole numbers around it those are taken
whose largest error, computed as the kernel computes, is the least. Standard library only.
"""

import math

INTERVALS, WIDTH = 32, 0.25


def mul_round(a: int, b: int) -> int:
    return (a * b + 16384) >> 15


def value(coefficients: tuple[int, int, int], r: int) -> int:
    c0, c1, c2 = coefficients
    return c0 + mul_round(r, c1 + mul_round(r, c2))


def through_nodes(middle: float) -> list[int]:
    """Coefficients by power of the distance from the middle, in half widths."""
    x = [math.cos((2 * node + 1) * math.pi / 6) for node in range(3)]
    y = [math.tanh(middle + WIDTH / 2 * node) for node in x]
    slope = [(y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])]
    c2 = (slope[1] - slope[0]) / (x[2] - x[0])
    c1 = slope[0] - c2 * (x[0] + x[1])
    c0 = y[0] - x[0] * (c1 + c2 * x[0])
    return [round(32768 * c) for c in (c0, c1, c2)]


def main() -> None:
    rows, worst = [], 0.0
    for interval in range(INTERVALS):
        b0, b1, b2 = through_nodes((interval + 0.5) * WIDTH)
        points = [(r - 512) * 64 for r in [*range(0, 1024, 8), 1023]]
        exact = [32768 * math.tanh((interval * 1024 + r / 64 + 512) / 4096) for r in points]
        best = None
        for c1 in range(b1 - 2, b1 + 3):
            for c2 in range(b2 - 2, b2 + 3):
                # tanh(0) is 0, whatever else.
                for c0 in [c1 - c2] if interval == 0 else range(b0 - 2, b0 + 3):
                    values = [value((c0, c1, c2), r) for r in points]
                    error = max(abs(v - e) for v, e in zip(values, exact))
                    if max(values) <= 32767 and (best is None or error < best[0]):
                        best = (error, (c0, c1, c2))
        rows.append(best[1])
        worst = max(worst, best[0])
    print(f"// largest error: {worst:.2f} units, {worst / 32768:.2e}")
    for power in range(3):
        print("    [" + ", ".join(str(row[power]) for row in rows) + "],")


if __name__ == "__main__":
    main()
