// The layers of one instruction set: this file is compiled once for each.
#include "layers.h"

#include "attention.h"
#include "gelu.h"
#include "norm.h"
#include "sums.h"

namespace layers {

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)
#define LAYERS_OF(T)                                                                                                          \
    {gelu<T>, gelu_backward<T>, attend<T>, attend_backward<T>, norm<T>, norm_backward<T>, column_sums<T>, narrowed<T>, sloped<T>, \
     added<T>, gelu_and_slope<T>}
const Layers JOIN(KERNEL, _layers) = {
    TEXT(KERNEL),
    LAYERS_OF(float),
    LAYERS_OF(uint16_t),
};

}  // namespace layers
