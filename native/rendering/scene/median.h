// Median depths of a block: where half of the light is left, 0 where more than that is left at the end.
#pragma once

#include "forward.h"
#include "sphere.h"
#include "surfel.h"

namespace splat {
namespace {

// Planes: transmittance and median.
using MedianPixels = Pixels<1, 1>;

inline void pass_median(vfloat* at, vfloat raw, vfloat depth) {
    const vfloat t = at[0], next = pass_on(t, seen_alpha<true>(raw, t));
    at[1] = select((t >= 0.5f) & (next < 0.5f), depth, at[1]);
    at[0] = next;
}

template <typename Alpha>
[[gnu::noinline]] void median_strip(const Nearby& nearby, int n, vfloat* at, float left, float top) {
    const Strip& strip = nearby.strips[n];
    const vfloat depth = spread(nearby.colors[strip.splat]);
    Alpha alphas(nearby.splats, strip.splat, nearby.columns[n], lane_distances(nearby.splats, strip.splat, left),
                 top - nearby.splats.y[strip.splat] + strip.first, strip.last - strip.first);
    for (int rows = strip.last - strip.first; rows; --rows, at += 2) {
        pass_median(at, alphas.here(), depth);
        alphas.go_down();
    }
}

template <typename Drawn>
void median_plane(const MedianPixels& pixels, const Shown& shown, const Block& block, const Pass& pass) {
    Nearby nearby;
    const float left = block.left + 0.5f, top = block.top + 0.5f;
    walk_list<1, Drawn::RECURS>(shown, block, pass, pixels, nearby, NoRows(), [&](int column, int n) {
        const Strip& strip = nearby.strips[n];
        vfloat* at = pixels.row(column, strip.first);
        const float from = left + column * LANES;
        if constexpr (!Drawn::RECURS) {
            median_strip<Drawn>(nearby, n, at, from, top);
        } else if (nearby.splats.path[strip.splat] == RECURRENCE) {
            median_strip<RecurrentAlpha>(nearby, n, at, from, top);
        } else {
            median_strip<DirectAlpha>(nearby, n, at, from, top);
        }
    });
}

void median_sphere(const MedianPixels& pixels, const Shown& shown, const View& view, const Block& block) {
    const Directions directions(view.lens, block);
    walk_sphere(shown, view, block, pixels, NoRows(), [&](const SphereSplat& splat, int, int32_t, int column) {
        const SphereColumn line(splat, directions, column);
        vfloat* at = pixels.row(column, splat.first_row);
        for (int row = splat.first_row; row < splat.last_row; ++row, at += 2)
            pass_median(at, line.at(directions.down[row], directions.level[row]).raw, spread(splat.record[DEPTH]));
    });
}

void median_surfels(const MedianPixels& pixels, const Shown& shown, const View& view, const Block& block) {
    walk_surfels(shown, view, block, pixels, NoRows(), [&](const Surfel& surfel, int, int32_t, int column) {
        const SurfelColumn line(surfel, column);
        vfloat* at = pixels.row(column, surfel.first_rows[column]);
        for (int row = surfel.first_rows[column]; row < surfel.last_rows[column]; ++row, at += 2) {
            const SurfelColumn::Here here = line.at(row - surfel.y);
            pass_median(at, here.raw, surfel.depth * here.inverse);
        }
    });
}

// Writes the block of an image [H, W].
void median_block(const Shown& shown, const View& view, const Block& block, float* out) {
    const Pass pass{shown.channels - 1, 1, nullptr};
    const MedianPixels pixels(1);
    clear_pixels<1>(pixels, view, block, pass);
    if (view.formula == Formula::SURFEL) {
        median_surfels(pixels, shown, view, block);
    } else if (view.lens.model == Model::PANORAMA) {
        median_sphere(pixels, shown, view, block);
    } else if (view.formula == Formula::EXPONENTIAL) {
        median_plane<Exponential<false>>(pixels, shown, block, pass);
    } else if (view.formula == Formula::ANALYTIC) {
        median_plane<Analytic<false>>(pixels, shown, block, pass);
    } else {
        median_plane<Gaussian>(pixels, shown, block, pass);
    }
    each_vector(view, block, [&](int column, int row, int width, size_t place) {
        store_first(out + place, pixels.row(column, row)[1], width);
    });
}

}  // namespace
}  // namespace splat
