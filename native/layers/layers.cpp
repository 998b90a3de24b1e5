// The layers of one instruction set: this file is compiled once for each.
#include "layers.h"

#include "attention.h"
#include "gelu.h"

namespace layers {

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)
const Layers JOIN(KERNEL, _layers) = {
    TEXT(KERNEL),
    {gelu<float>, gelu_backward<float>, attend<float>, attend_backward<float>},
    {gelu<uint16_t>, gelu_backward<uint16_t>, attend<uint16_t>, attend_backward<uint16_t>},
};

}  // namespace layers
