// Compositing in WebGL2: sorted quads, each blended over what lies behind it, with the renderer's formula.

const VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in vec2 center;
layout(location = 1) in vec2 reach;
layout(location = 2) in vec3 conic;
layout(location = 3) in vec4 paint;
uniform vec2 size;
out vec2 offset;
flat out vec3 form;
flat out vec4 ink;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  offset = corner * reach;
  form = conic;
  ink = paint;
  gl_Position = vec4((center + offset) / size * 2.0 - 1.0, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec2 offset;
flat in vec3 form;
flat in vec4 ink;
uniform vec2 limits;
uniform bool discs;
out vec4 color;
void main() {
  float power = 0.5 * (form.x * offset.x * offset.x + form.z * offset.y * offset.y) + form.y * offset.x * offset.y;
  float falloff = discs ? step(power, 0.5) : exp(-max(power, 0.0));
  float alpha = min(limits.y, ink.a * falloff);
  if (alpha < limits.x) discard;
  color = vec4(ink.rgb * alpha, alpha);
}`;

// Rows of the picture run down, rows of a canvas up.
const COPY_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D picture;
out vec4 color;
void main() {
  ivec2 place = ivec2(gl_FragCoord.xy);
  color = vec4(texelFetch(picture, ivec2(place.x, textureSize(picture, 0).y - 1 - place.y), 0).rgb, 1.0);
}`;

const FLOATS = 11; // of a quad: centre 2, reach 2, conic 3, colour 3, opacity 1

/** Paints splats on a canvas. Throws where the browser has no WebGL2. */
class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.start();
  }

  /** Makes everything anew, at first and after the browser has taken the context away. */
  start() {
    const gl = this.canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, stencil: false });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    this.format = blendableFormat(gl);
    /** Whether colours below 0 are lost: formats of 8 bits clamp what is blended. */
    this.clamps = this.format === gl.RGBA8;
    this.quads = buildProgram(gl, VERTEX, FRAGMENT);
    this.copy = buildProgram(gl, WHOLE_VERTEX, COPY_FRAGMENT);
    this.buffer = gl.createBuffer();
    this.array = gl.createVertexArray();
    this.empty = gl.createVertexArray();
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    [[2, 0], [2, 2], [3, 4], [4, 7]].forEach(([length, from], location) => {
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, length, gl.FLOAT, false, 4 * FLOATS, 4 * from);
      gl.vertexAttribDivisor(location, 1);
    });
    this.target = null;
  }

  /**
   * Draws splats on a canvas of width × height, from the last of `order` to the first, where `shown`. `colours` has
   * three floats for each; `discs` draws ellipses of one sigma with hard edges.
   */
  draw(scene, splats, { order, shown, colours, discs, width, height }) {
    const gl = this.gl;
    if (gl.isContextLost()) return;
    this.target = fittedTarget(gl, this.canvas, this.target, this.format, width, height);
    const quads = packQuads(scene, splats, order, shown, colours, discs);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...scene.background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.quads);
    gl.uniform2f(gl.getUniformLocation(this.quads, "size"), scene.camera.width, scene.camera.height);
    gl.uniform2f(gl.getUniformLocation(this.quads, "limits"), scene.formula.alphaMin, scene.formula.alphaMax);
    gl.uniform1i(gl.getUniformLocation(this.quads, "discs"), discs ? 1 : 0);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, quads, gl.DYNAMIC_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, quads.length / FLOATS);
    gl.disable(gl.BLEND);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.useProgram(this.copy);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/** Quads of the shown splats, far to near, each as large as its alpha is not skipped. */
function packQuads(scene, splats, order, shown, colours, discs) {
  const quads = new Float32Array(order.length * FLOATS);
  let used = 0;
  for (let place = order.length - 1; place >= 0; place--) {
    const index = order[place];
    const opacity = splats.opacity[index];
    if (!shown[index] || opacity < scene.formula.alphaMin) continue;
    const reach = discs ? 1 : Math.sqrt(2 * Math.log(opacity / scene.formula.alphaMin));
    quads.set(
      [
        splats.x[index], splats.y[index],
        reach * Math.sqrt(splats.xx[index]), reach * Math.sqrt(splats.yy[index]),
        splats.a[index], splats.b[index], splats.c[index],
        colours[3 * index], colours[3 * index + 1], colours[3 * index + 2], opacity,
      ],
      used,
    );
    used += FLOATS;
  }
  return quads.subarray(0, used);
}
