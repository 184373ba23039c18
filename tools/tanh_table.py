"""Prints the table of src/kernel/tanh_table.rs: tanh as 16 polynomials of degree 5 (needs numpy).

With u = 1 + s |x| the interval of a number is its exponent and the top two bits of its mantissa, so finding it
takes one shift. s is chosen so that u = 16, where the table ends, is where tanh is 1 but for half a unit in the last
place of a 32-bit float.
"""

import numpy as np

SCALE = 15 / 8.7
DEGREE = 5


def fit(low: float, width: float) -> np.ndarray:
    """Coefficients in r = u - low, lowest first, near the minimax polynomial (Chebyshev nodes)."""
    nodes = low + width * (0.5 - 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64))
    value = np.tanh((nodes - 1) / SCALE)
    r = nodes - low
    if low == 1.0:  # exactly 0 at 0, and precise relative to the value near it
        powers = np.vander(r, DEGREE, increasing=True)
        weight = r / value
        rest = np.linalg.lstsq(powers * weight[:, None], value / r * weight, rcond=None)[0]
        return np.concatenate([[0.0], rest])
    return (
        np.polynomial.chebyshev.Chebyshev.interpolate(lambda u: np.tanh((u - 1) / SCALE), DEGREE, [low, low + width])
        .convert(kind=np.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1])(np.polynomial.Polynomial([low, 1.0]))
        .coef
    )


def main() -> None:
    table = np.zeros((DEGREE + 1, 16), dtype=np.float32)
    for octave in range(4):
        for quarter in range(4):
            low, width = 2.0**octave * (1 + quarter / 4), 2.0**octave / 4
            index = (np.float32(low).view(np.uint32) >> 21) & 15
            coefficients = fit(low, width)
            table[: len(coefficients), index] = coefficients
    print(f"pub(super) const SCALE: f32 = {np.float32(SCALE):.9e};")
    worst = 0.0
    for octave in range(4):
        for quarter in range(4):
            low, width = 2.0**octave * (1 + quarter / 4), 2.0**octave / 4
            index = (np.float32(low).view(np.uint32) >> 21) & 15
            r = np.linspace(0, width, 10001)
            value = np.polynomial.polynomial.polyval(r, table[:, index].astype(np.float64))
            worst = max(worst, np.abs(value - np.tanh((low + r - 1) / SCALE)).max())
    print(f"// largest error before rounding: {worst:.2e}")
    for degree, row in enumerate(table):
        print(f"    // times r^{degree}")
        values = [f"{value:.9e}" for value in row]
        print("    [" + ", ".join(values) + "],")


if __name__ == "__main__":
    main()
