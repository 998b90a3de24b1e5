// The layers of one instruction set: this file is compiled once for each.
#include "layers.h"

#include "attention.h"
#include "gelu.h"
#include "norm.h"
#include "sums.h"

namespace layers {

#define LAYERS_OF(T)                                                                                                          \
    {gelu<T>, gelu_backward<T>, attend<T>, attend_backward<T>, norm<T>, norm_backward<T>, column_sums<T>, narrowed<T>, sloped<T>, \
     added<T>, gelu_and_slope<T>}
const Layers TABLE(_layers) = {
    SET_NAME,
    LAYERS_OF(float),
    LAYERS_OF(uint16_t),
};

}  // namespace layers
