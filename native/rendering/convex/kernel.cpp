// α of smooth convexes, their blending and its gradients for one instruction set: this file is compiled once for each.
#include "convexes.h"

#include "../../common/simd.h"

namespace splat {
namespace {

constexpr int VECTORS = CONVEX_PIXELS / LANES, ACROSS = CONVEX_TILE / LANES;  // of a tile, and of one of its rows
constexpr float LN_2 = 0.69314718f, LOG2 = 1.44269504f;
constexpr float LEAST = -115.0f;   // log₂ of the least weight of an edge
constexpr float STEEPEST = 126.0f;  // |log₂| of the odds of α beyond which they count as this

static_assert(CONVEX_TILE % LANES == 0, "a row of a tile is whole vectors");

vfloat lanes() {
    vfloat value;
    for (int lane = 0; lane < LANES; ++lane) value[lane] = static_cast<float>(lane);
    return value;
}

// A convex, as one tile sees it.
struct Shape {
    float x, y, opacity, smooth, per_smooth, sharp, outside;
    float nx[MOST_EDGES], ny[MOST_EDGES], offset[MOST_EDGES];
    int edges = 0;  // without the last ones that are none

    Shape(const Convexes& all, int index) {
        const float* own = all.packed + static_cast<std::size_t>(index) * all.numbers();
        x = all.means2d[2 * index], y = all.means2d[2 * index + 1], opacity = all.opacities[index];
        smooth = own[SMOOTHNESS] * LOG2, per_smooth = LN_2 / own[SMOOTHNESS], sharp = own[SHARPNESS] * LOG2;
        // Beyond this distance from an edge's line nothing is seen, since φ is no less than each distance.
        outside = opacity >= ALPHA_MIN ? 1.001f * std::log2(opacity / ALPHA_MIN) / sharp + 1e-3f : -INFINITY;
        for (int edge = 0; edge < all.edges; ++edge) {
            const float* line = own + FIRST_EDGE + 3 * edge;
            nx[edge] = line[0], ny[edge] = line[1], offset[edge] = line[2];
            if (line[2] > NO_EDGE) edges = edge + 1;
        }
    }
};

// α at a vector of pixels.
struct At {
    vfloat largest, phi, falloff, raw, alpha, per_total;
    vfloat weight[MOST_EDGES];  // of edges, as far as they are asked for: exp(δ (L − largest))
};

// The distances of pixels from lines, and whether α can be seen in one of them.
inline bool distances(const Shape& shape, vfloat dx, float dy, vfloat* distance, vfloat& largest) {
    largest = spread(-INFINITY);
    for (int edge = 0; edge < shape.edges; ++edge) {
        distance[edge] = shape.nx[edge] * dx + (shape.ny[edge] * dy + shape.offset[edge]);
        largest = larger(distance[edge], largest);
    }
    return shape.edges > 0 && lane_bits(largest < shape.outside) != 0;
}

inline void evaluate(const Shape& shape, const vfloat* distance, vfloat largest, At& at) {
    vfloat total = {};
    for (int edge = 0; edge < shape.edges; ++edge) {
        const vfloat power = larger(shape.smooth * (distance[edge] - largest), spread(LEAST));
        at.weight[edge] = exp2_in_range(power);
        total += at.weight[edge];
    }
    at.largest = largest;
    at.phi = largest + log2_of(total) * shape.per_smooth;
    const vfloat odds = larger(smaller(shape.sharp * at.phi, spread(STEEPEST)), spread(-STEEPEST));
    at.falloff = 1.0f / (1.0f + exp2_in_range(odds));
    at.per_total = 1.0f / total;
    at.raw = shape.opacity * at.falloff;
    const vfloat alpha = smaller(at.raw, spread(ALPHA_MAX));
    at.alpha = only(alpha >= ALPHA_MIN, alpha);
}

// The pixels of a tile.
struct Pixels {
    int first_row, first_column, rows, columns;  // in the grid; those within the picture
    vfloat x[ACROSS];
    float y[CONVEX_TILE];

    Pixels(const Convexes& all, const ConvexTile& tile)
        : first_row(tile.row * CONVEX_TILE), first_column(tile.column * CONVEX_TILE) {
        rows = all.height - first_row < CONVEX_TILE ? all.height - first_row : CONVEX_TILE;
        columns = all.width - first_column < CONVEX_TILE ? all.width - first_column : CONVEX_TILE;
        const float stride = static_cast<float>(all.stride);
        for (int i = 0; i < ACROSS; ++i)
            x[i] = (lanes() + static_cast<float>(first_column + i * LANES)) * stride + (static_cast<float>(all.left) + 0.5f);
        for (int i = 0; i < rows; ++i)
            y[i] = static_cast<float>(first_row + i) * stride + (static_cast<float>(all.top) + 0.5f);
    }

    int vectors() const { return rows * ACROSS; }
    // Pixels of a vector that lie in the picture, and the place of its first one.
    int here(int vector) const {
        const int left = columns - vector % ACROSS * LANES;
        return left < 0 ? 0 : left < LANES ? left : LANES;
    }
    std::size_t place(const Convexes& all, int vector) const {
        return static_cast<std::size_t>(first_row + vector / ACROSS) * all.width + first_column + vector % ACROSS * LANES;
    }
};

// Whether a pixel of the tile still passes light on.
bool is_open(const vfloat* left, int vectors) {
    for (int vector = 0; vector < vectors; ++vector)
        if (lane_bits(left[vector] >= TRANSMITTANCE_MIN)) return true;
    return false;
}

void forward_tile(const Convexes& all, const ConvexTile& tile, float* color, float* transmittance) {
    const Pixels pixels(all, tile);
    const std::size_t size = static_cast<std::size_t>(all.height) * all.width;
    vfloat left[VECTORS], seen[MAX_CHANNELS][VECTORS];
    for (int vector = 0; vector < VECTORS; ++vector) left[vector] = spread(1.0f);
    for (int c = 0; c < all.channels; ++c)
        for (int vector = 0; vector < VECTORS; ++vector) seen[c][vector] = vfloat{};
    vfloat distance[MOST_EDGES], largest;
    At at;
    for (std::size_t i = 0; i < tile.count && is_open(left, pixels.vectors()); ++i) {
        const int index = tile.convexes[i];
        const Shape shape(all, index);
        const float* own = all.colors + static_cast<std::size_t>(index) * all.channels;
        for (int vector = 0; vector < pixels.vectors(); ++vector) {
            const float dy = pixels.y[vector / ACROSS] - shape.y;
            if (!distances(shape, pixels.x[vector % ACROSS] - shape.x, dy, distance, largest)) continue;
            evaluate(shape, distance, largest, at);
            const vfloat alpha = only(left[vector] >= TRANSMITTANCE_MIN, at.alpha), weight = left[vector] * alpha;
            for (int c = 0; c < all.channels; ++c) seen[c][vector] += weight * own[c];
            left[vector] = pass_on(left[vector], alpha);
        }
    }
    for (int vector = 0; vector < pixels.vectors(); ++vector) {
        const int here = pixels.here(vector);
        const std::size_t place = pixels.place(all, vector);
        store_first(transmittance + place, left[vector], here);
        for (int c = 0; c < all.channels; ++c)
            store_first(color + c * size + place, seen[c][vector] + left[vector] * all.background[c], here);
    }
}

// Sums over the pixels of a tile for one convex.
struct Sums {
    vfloat x[MOST_EDGES], y[MOST_EDGES], offset[MOST_EDGES], smooth, sharp, opacity, color[MAX_CHANNELS];

    void clear(int edges, int channels) {
        for (int edge = 0; edge < edges; ++edge) x[edge] = y[edge] = offset[edge] = vfloat{};
        for (int c = 0; c < channels; ++c) color[c] = vfloat{};
        smooth = sharp = opacity = vfloat{};
    }

    // In the order of `convex_sums`: edges that are none have no gradient.
    void write(const Shape& shape, int edges, int channels, float* row) const {
        for (int edge = 0; edge < edges; ++edge) {
            const bool is_edge = edge < shape.edges;
            row[3 * edge] = is_edge ? sum(x[edge]) : 0.0f;
            row[3 * edge + 1] = is_edge ? sum(y[edge]) : 0.0f;
            row[3 * edge + 2] = is_edge ? sum(offset[edge]) : 0.0f;
        }
        row += 3 * edges;
        row[0] = sum(smooth), row[1] = sum(sharp), row[2] = sum(opacity);
        for (int c = 0; c < channels; ++c) row[3 + c] = sum(color[c]);
    }
};

// Adds what α's gradient at a vector of pixels, 0 where α was clamped or not blended, means for the convex.
inline void add_shape(const Shape& shape, const vfloat* distance, const At& at, vfloat dx, float dy, vfloat by_alpha, Sums& sums) {
    const vfloat scaled = by_alpha * at.raw * (1.0f - at.falloff), by_phi = -scaled * (shape.sharp * LN_2);
    const vfloat each_by_phi = by_phi * at.per_total;
    vfloat mean = {};
    for (int edge = 0; edge < shape.edges; ++edge) {
        const vfloat by_distance = each_by_phi * at.weight[edge];
        // A distance beside φ: its mean over the edges is small where φ is not.
        mean += by_distance * (distance[edge] - at.phi);
        sums.x[edge] += by_distance * dx;
        sums.y[edge] += by_distance * dy;
        sums.offset[edge] += by_distance;
    }
    sums.smooth += mean * (shape.per_smooth * LOG2);
    sums.sharp -= scaled * at.phi;
    sums.opacity += by_alpha * at.falloff;
}

void backward_tile(const Convexes& all, const ConvexTile& tile, const ConvexPictures& pictures, float* out, float* background) {
    const Pixels pixels(all, tile);
    const std::size_t size = static_cast<std::size_t>(all.height) * all.width;
    const int width = convex_sums(all.edges, all.channels), channels = all.channels;
    vfloat left[VECTORS], behind[VECTORS], by[MAX_CHANNELS][VECTORS];
    // behind: the gradient's product with what is seen behind the convexes so far, which is the whole picture at first.
    for (int c = 0; c < channels; ++c) background[c] = 0.0f;
    for (int vector = 0; vector < pixels.vectors(); ++vector) {
        const int here = pixels.here(vector);
        const std::size_t place = pixels.place(all, vector);
        const vfloat end = load_first(pictures.transmittance + place, here);
        left[vector] = spread(1.0f);
        behind[vector] = end * load_first(pictures.by_transmittance + place, here);
        for (int c = 0; c < channels; ++c) {
            by[c][vector] = load_first(pictures.by_color + c * size + place, here);
            behind[vector] += by[c][vector] * load_first(pictures.color + c * size + place, here);
            background[c] += sum(by[c][vector] * end);
        }
    }
    vfloat distance[MOST_EDGES], largest;
    At at;
    Sums sums;
    std::size_t done = 0;
    for (; done < tile.count && is_open(left, pixels.vectors()); ++done) {
        const int index = tile.convexes[done];
        const Shape shape(all, index);
        const float* own = all.colors + static_cast<std::size_t>(index) * channels;
        sums.clear(all.edges, channels);
        for (int vector = 0; vector < pixels.vectors(); ++vector) {
            const vfloat dx = pixels.x[vector % ACROSS] - shape.x;
            const float dy = pixels.y[vector / ACROSS] - shape.y;
            if (!distances(shape, dx, dy, distance, largest)) continue;
            evaluate(shape, distance, largest, at);
            const vfloat alpha = only(left[vector] >= TRANSMITTANCE_MIN, at.alpha), weight = left[vector] * alpha;
            if (!lane_bits(alpha > 0.0f)) continue;
            vfloat toward = {};
            for (int c = 0; c < channels; ++c) {
                toward += by[c][vector] * own[c];
                sums.color[c] += by[c][vector] * weight;
            }
            behind[vector] -= weight * toward;
            const vfloat by_alpha = left[vector] * toward - behind[vector] / (1.0f - alpha);
            left[vector] = pass_on(left[vector], alpha);
            add_shape(shape, distance, at, dx, dy, only((alpha > 0.0f) & (at.raw <= ALPHA_MAX), by_alpha), sums);
        }
        sums.write(shape, all.edges, channels, out + tile.rows[done] * width);
    }
    for (; done < tile.count; ++done)
        for (int i = 0; i < width; ++i) out[tile.rows[done] * width + i] = 0.0f;
}

}  // namespace

const ConvexKernel TABLE(_convexes) = {SET_NAME, forward_tile, backward_tile};

}  // namespace splat
