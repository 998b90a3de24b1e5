// The renderer's formula as shaders, on the bytes of a SOG bundle.

// One fragment for each Gaussian: max(0, SH + 1/2) along the line from the eye to its mean.
const COLOUR_FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D means, sh0, labels, centroids, codebooks;
uniform vec3 eye;
uniform int degree;
out vec4 color;

vec3 looked(int book, vec3 bytes) {
  ivec3 place = ivec3(bytes * 255.0 + 0.5);
  return vec3(
    texelFetch(codebooks, ivec2(place.x, book), 0).r,
    texelFetch(codebooks, ivec2(place.y, book), 0).r,
    texelFetch(codebooks, ivec2(place.z, book), 0).r);
}

void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  vec4 direct = texelFetch(sh0, at, 0);
  vec3 sum = 0.28209479177387814 * looked(1, direct.rgb);
  if (degree > 0) {
    vec3 d = normalize(texelFetch(means, at, 0).xyz - eye);
    float x = d.x, y = d.y, z = d.z, xx = x * x, yy = y * y, zz = z * z;
    float basis[15];
    basis[0] = -0.4886025119029199 * y;
    basis[1] = 0.4886025119029199 * z;
    basis[2] = -0.4886025119029199 * x;
    basis[3] = 1.0925484305920792 * x * y;
    basis[4] = -1.0925484305920792 * y * z;
    basis[5] = 0.31539156525252005 * (2.0 * zz - xx - yy);
    basis[6] = -1.0925484305920792 * x * z;
    basis[7] = 0.5462742152960396 * (xx - yy);
    basis[8] = -0.5900435899266435 * y * (3.0 * xx - yy);
    basis[9] = 2.890611442640554 * x * y * z;
    basis[10] = -0.4570457994644658 * y * (4.0 * zz - xx - yy);
    basis[11] = 0.3731763325901154 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy);
    basis[12] = -0.4570457994644658 * x * (4.0 * zz - xx - yy);
    basis[13] = 1.445305721320277 * z * (xx - yy);
    basis[14] = -0.5900435899266435 * x * (xx - 3.0 * yy);
    vec2 label = floor(texelFetch(labels, at, 0).rg * 255.0 + 0.5);
    int entry = int(label.x) + 256 * int(label.y);
    int size = degree * (degree + 2);
    ivec2 first = ivec2((entry & 63) * size, entry >> 6);
    for (int term = 0; term < size; term++)
      sum += basis[term] * looked(2, texelFetch(centroids, first + ivec2(term, 0), 0).rgb);
  }
  color = vec4(max(sum + 0.5, 0.0), direct.a);
}`;

// A quad along the axes of each splat's ellipse, as large as its alpha is not skipped.
const SPLAT_VERTEX = `#version 300 es
precision highp float;
precision highp sampler2D;
layout(location = 0) in uint index;
uniform sampler2D means, scales, quats, colors, codebooks, exponents;
uniform mat3 turn;
uniform vec3 shift;
uniform vec4 lens;
uniform vec2 size, tangents, limits;
uniform float near, eps2d, grown;
uniform bool discs, compensates, bent;
out vec2 offset;
flat out vec4 ink;
flat out float exponent;

mat3 rotation(vec4 bytes) {
  int largest = int(bytes.a * 255.0 + 0.5) - 252;
  if (largest < 0) return mat3(1.0);
  vec3 three = (bytes.rgb * 2.0 - 1.0) * 0.7071067811865476;
  float rest = sqrt(max(0.0, 1.0 - dot(three, three)));
  vec4 q = vec4(three, rest);
  if (largest == 0) q = vec4(rest, three);
  else if (largest == 1) q = vec4(three.x, rest, three.yz);
  else if (largest == 2) q = vec4(three.xy, rest, three.z);
  q = normalize(q);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  // Columns of the matrix: the splat's axes in the world.
  return mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

void main() {
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  int columns = textureSize(means, 0).x;
  ivec2 at = ivec2(int(index) % columns, int(index) / columns);
  vec3 p = turn * texelFetch(means, at, 0).xyz + shift;
  if (p.z < near) return;
  ink = texelFetch(colors, at, 0);
  if (ink.a < limits.x) return;
  ivec3 place = ivec3(texelFetch(scales, at, 0).rgb * 255.0 + 0.5);
  vec3 sigmas = grown * exp(vec3(
    texelFetch(codebooks, ivec2(place.x, 0), 0).r,
    texelFetch(codebooks, ivec2(place.y, 0), 0).r,
    texelFetch(codebooks, ivec2(place.z, 0), 0).r));
  mat3 axes = turn * rotation(texelFetch(quats, at, 0));
  vec2 tangent = clamp(p.xy / p.z, -tangents, tangents);
  vec3 across = lens.x / p.z * vec3(1.0, 0.0, -tangent.x);
  vec3 down = lens.y / p.z * vec3(0.0, 1.0, -tangent.y);
  vec3 first = (across * axes) * sigmas;
  vec3 second = (down * axes) * sigmas;
  float xx = dot(first, first) + eps2d;
  float yy = dot(second, second) + eps2d;
  float xy = dot(first, second);
  if (compensates) {
    // The filter "mip": a sum of positive terms, as in the renderer.
    vec3 normal = cross(first, second);
    float before = dot(normal, normal);
    ink.a *= sqrt(before / (before + eps2d * (xx + yy - eps2d)));
    if (!(ink.a >= limits.x)) return;
  }
  float half_sum = 0.5 * (xx + yy);
  float half_gap = length(vec2(0.5 * (xx - yy), xy));
  vec2 major = half_gap > 1e-6 * half_sum ? normalize(vec2(xy, half_sum + half_gap - xx)) : vec2(1.0, 0.0);
  if (half_gap > 1e-6 * half_sum && abs(xy) < 1e-9 * half_sum) major = xx >= yy ? vec2(1.0, 0.0) : vec2(0.0, 1.0);
  float long_variance = half_sum + half_gap;
  float short_variance = max(((xx * yy) - xy * xy) / long_variance, 1e-12);
  exponent = bent ? texelFetch(exponents, at, 0).r : 2.0;
  float fall = 2.0 * log(ink.a / limits.x);
  float reach = discs ? 1.0 : bent ? pow(max(fall, 0.0), 1.0 / exponent) : sqrt(fall);
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  vec2 center = lens.xy * p.xy / p.z + lens.zw;
  vec2 extent = reach * sqrt(vec2(xx, yy));
  if (any(lessThan(center + extent, vec2(0.0))) || any(greaterThan(center - extent, size))) return;
  offset = reach * corner;
  vec2 moved = offset.x * sqrt(long_variance) * major + offset.y * sqrt(short_variance) * vec2(-major.y, major.x);
  gl_Position = vec4((center + moved) / size * 2.0 - 1.0, 0.0, 1.0);
}`;

const SPLAT_FRAGMENT = `#version 300 es
precision highp float;
in vec2 offset;
flat in vec4 ink;
flat in float exponent;
uniform vec2 limits;
uniform bool discs, bent;
out vec4 color;
void main() {
  float form = dot(offset, offset);
  float power = 0.5 * (bent ? pow(form, 0.5 * exponent) : form);
  float alpha = min(limits.y, ink.a * (discs ? step(form, 1.0) : exp(-power)));
  if (alpha < limits.x) discard;
  color = vec4(ink.rgb * alpha, alpha);
}`;

// The drawing on the canvas, with a photograph beside it or the difference of both in its place.
const SHOW_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D picture, photograph, ramp;
uniform vec4 frame;
uniform float wipe, most;
uniform int way;
out vec4 color;
void main() {
  ivec2 place = ivec2(gl_FragCoord.xy);
  vec2 from_top = vec2(gl_FragCoord.x, float(textureSize(picture, 0).y) - gl_FragCoord.y);
  vec3 drawn = texelFetch(picture, ivec2(place.x, textureSize(picture, 0).y - 1 - place.y), 0).rgb;
  color = vec4(drawn, 1.0);
  if (way == 0) return;
  vec2 inside = (from_top - frame.xy) / frame.zw;
  bool outside = any(lessThan(inside, vec2(0.0))) || any(greaterThan(inside, vec2(1.0)));
  if (outside) { color = vec4(0.35 * drawn, 1.0); return; }
  vec3 seen = texture(photograph, inside).rgb;
  if (way == 1) {
    if (from_top.x >= wipe) color = vec4(seen, 1.0);
    return;
  }
  vec3 gap = abs(clamp(drawn, 0.0, 1.0) - seen);
  float error = min((gap.r + gap.g + gap.b) / 3.0 / most, 1.0);
  float stops = float(textureSize(ramp, 0).x);
  color = vec4(texture(ramp, vec2((0.5 + error * (stops - 1.0)) / stops, 0.5)).rgb, 1.0);
}`;

const LINE_VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in vec3 place;
layout(location = 1) in vec3 paint;
uniform mat3 turn;
uniform vec3 shift;
uniform vec4 lens;
uniform vec2 size;
uniform float near;
out vec3 ink;
void main() {
  vec3 p = turn * place + shift;
  ink = paint;
  vec2 scaled = (lens.xy * p.xy + lens.zw * p.z) / size * 2.0 - p.z;
  gl_Position = vec4(scaled.x, -scaled.y, p.z - 2.0 * near, p.z);
}`;

const LINE_FRAGMENT = `#version 300 es
precision highp float;
in vec3 ink;
out vec4 color;
void main() {
  color = vec4(ink, 1.0);
}`;
