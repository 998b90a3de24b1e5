// Real spherical harmonics and their derivatives for a vector of directions: splatlearn/core/geometry/harmonics.py.
#pragma once

#include "../../common/simd.h"

namespace splat {
namespace {

constexpr int MAX_DEGREE = 4;
constexpr int MAX_COEFFICIENTS = (MAX_DEGREE + 1) * (MAX_DEGREE + 1);

// The harmonic of band l and order ±m is a polynomial in z times the real or imaginary part of (x + iy)^m: coefficients of
// 1, z, …, z⁴, with the scale and sign of the harmonic in them.
constexpr float ELEVATION[MAX_DEGREE + 1][MAX_DEGREE + 1][MAX_DEGREE + 1] = {
    {{0.2820947918f}},
    {{0.0f, 0.4886025119f}, {-0.4886025119f}},
    {{-0.3153915653f, 0.0f, 0.9461746958f}, {0.0f, -1.092548431f}, {0.5462742153f}},
    {{0.0f, -1.119528998f, 0.0f, 1.865881663f}, {0.4570457995f, 0.0f, -2.285228997f}, {0.0f, 1.445305721f}, {-0.5900435899f}},
    {{0.3173566407f, 0.0f, -3.173566407f, 0.0f, 3.702494142f},
     {0.0f, 2.007139631f, 0.0f, -4.683325805f},
     {-0.4730873479f, 0.0f, 3.311611435f},
     {0.0f, -1.77013077f},
     {0.6258357354f}},
};

struct Direction {
    vfloat x, y, z;
};

// Powers of x + iy and of z.
struct Powers {
    vfloat real[MAX_DEGREE + 1], imaginary[MAX_DEGREE + 1], z[MAX_DEGREE + 1];

    Powers(Direction d, int degree) {
        real[0] = z[0] = spread(1.0f), imaginary[0] = spread(0.0f);
        for (int m = 0; m < degree; ++m) {
            real[m + 1] = d.x * real[m] - d.y * imaginary[m];
            imaginary[m + 1] = d.x * imaginary[m] + d.y * real[m];
            z[m + 1] = z[m] * d.z;
        }
    }

    vfloat elevation(int l, int m) const {
        vfloat sum = spread(0.0f);
        for (int k = (l - m) & 1; k <= l - m; k += 2) sum += ELEVATION[l][m][k] * z[k];
        return sum;
    }

    vfloat elevation_slope(int l, int m) const {
        vfloat sum = spread(0.0f);
        for (int k = l - m; k >= 1; k -= 2) sum += k * ELEVATION[l][m][k] * z[k - 1];
        return sum;
    }
};

// basis[l² + l ± m] in unit directions.
template <int DEGREE>
inline void harmonics(Direction d, vfloat* basis) {
    const Powers powers(d, DEGREE);
    for (int l = 0; l <= DEGREE; ++l)
        for (int m = 0; m <= l; ++m) {
            const vfloat elevation = powers.elevation(l, m);
            basis[l * l + l + m] = elevation * powers.real[m];
            if (m) basis[l * l + l - m] = elevation * powers.imaginary[m];
        }
}

// The gradient of Σ by_basis · basis toward a direction, as if its length were free.
template <int DEGREE>
inline Direction harmonics_backward(Direction d, const vfloat* by_basis) {
    const Powers powers(d, DEGREE);
    const vfloat zero = spread(0.0f);
    Direction by{zero, zero, zero};
    for (int l = 1; l <= DEGREE; ++l)
        for (int m = 0; m <= l; ++m) {
            const vfloat plus = by_basis[l * l + l + m], minus = m ? by_basis[l * l + l - m] : zero;
            by.z += powers.elevation_slope(l, m) * (plus * powers.real[m] + minus * powers.imaginary[m]);
            if (m == 0) continue;
            const vfloat scaled = static_cast<float>(m) * powers.elevation(l, m);
            by.x += scaled * (plus * powers.real[m - 1] + minus * powers.imaginary[m - 1]);
            by.y += scaled * (minus * powers.real[m - 1] - plus * powers.imaginary[m - 1]);
        }
    return by;
}

}  // namespace
}  // namespace splat
