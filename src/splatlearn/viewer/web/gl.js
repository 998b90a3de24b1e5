// What every drawing in WebGL2 needs: programs, textures to draw into, and the format that blends well.

/** Half floats where they can be blended: in 8 bits the rounding of hundreds of faint layers would be seen. */
function blendableFormat(gl) {
  const halves = gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float");
  return halves ? gl.RGBA16F : gl.RGBA8;
}

function buildTarget(gl, format, width, height) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  const frame = gl.createFramebuffer();
  gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  return { texture, frame, width, height };
}

function buildProgram(gl, ...sources) {
  const program = gl.createProgram();
  [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].forEach((kind, number) => {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, sources[number]);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  });
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(gl.getProgramInfoLog(program) || "the shaders of this page could not be linked");
  return program;
}

// A triangle that covers the whole picture.
const WHOLE_VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}`;

/** Gives a canvas its size, and returns a target of that size: the one before where it fits. */
function fittedTarget(gl, canvas, target, format, width, height) {
  if (target && target.width === width && target.height === height) return target;
  if (target) {
    gl.deleteFramebuffer(target.frame);
    gl.deleteTexture(target.texture);
  }
  canvas.width = width;
  canvas.height = height;
  return buildTarget(gl, format, width, height);
}
