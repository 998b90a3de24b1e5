// A direction of view from the middle of a panorama, and the drawing of what is there.

const LOOK_VERTEX = WHOLE_VERTEX;
const LOOK_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D rendering, photograph;
uniform vec2 size;      // pixels of the canvas
uniform vec3 looking;   // longitude, latitude up, tangent of half the vertical angle of view
uniform float way;      // 0: rendering, 1: photograph left of the wipe, 2: difference
uniform float wipe;     // share of the width
out vec4 color;
void main() {
  vec2 place = 2.0 * gl_FragCoord.xy / size - 1.0;
  vec3 ray = vec3(place.x * looking.z * size.x / size.y, -place.y * looking.z, 1.0);
  float up = looking.y, turn = looking.x;
  ray = vec3(ray.x, ray.y * cos(up) - ray.z * sin(up), ray.y * sin(up) + ray.z * cos(up));
  ray = vec3(ray.x * cos(turn) + ray.z * sin(turn), ray.y, ray.z * cos(turn) - ray.x * sin(turn));
  vec2 at = vec2(atan(ray.x, ray.z) * ${0.5 / Math.PI} + 0.5, asin(clamp(ray.y / length(ray), -1.0, 1.0)) * ${1 / Math.PI} + 0.5);
  vec3 made = texture(rendering, at).rgb, taken = texture(photograph, at).rgb;
  float difference = dot(abs(made - taken), vec3(1.0 / 3.0));
  bool isTaken = way == 1.0 && gl_FragCoord.x < wipe * size.x;
  color = vec4(way == 2.0 ? vec3(min(difference * 4.0, 1.0)) : isTaken ? taken : made, 1.0);
}`;
const LEAST_ANGLE = 0.2; // radians, vertical
const MOST_ANGLE = 2.2;
const STRAIGHT = 1.5; // radians up and down that a person may look

/** A direction after turns to the right and up, of pixels' worth of the angle of view. */
function lookedOn(look, right, up) {
  const whole = 2 * Math.PI;
  return {
    ...look,
    longitude: (((look.longitude + right + Math.PI) % whole) + whole) % whole - Math.PI,
    latitude: Math.min(Math.max(look.latitude + up, -STRAIGHT), STRAIGHT),
  };
}

function zoomed(look, factor) {
  return { ...look, angle: Math.min(Math.max(look.angle * factor, LEAST_ANGLE), MOST_ANGLE) };
}

class LookPainter {
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, stencil: false });
    if (!gl) throw new Error("it has no WebGL2");
    this.gl = gl;
    this.program = buildProgram(gl, LOOK_VERTEX, LOOK_FRAGMENT);
    this.textures = [gl.createTexture(), gl.createTexture()];
    this.shown = [null, null];
    gl.bindVertexArray(gl.createVertexArray());
  }

  /** Puts a picture, whose sides meet, into a texture unit. */
  hold(unit, image) {
    if (this.shown[unit] === image) return;
    const { gl } = this;
    this.shown[unit] = image;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, this.textures[unit]);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.REPEAT);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    // No smaller copies: between the sides of the picture their choice would show as a line.
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
  }

  draw(size, look, way, wipe) {
    const { gl, program } = this;
    if (this.canvas.width !== size.width) this.canvas.width = size.width;
    if (this.canvas.height !== size.height) this.canvas.height = size.height;
    gl.viewport(0, 0, size.width, size.height);
    gl.useProgram(program);
    const at = (name) => gl.getUniformLocation(program, name);
    gl.uniform1i(at("rendering"), 0);
    gl.uniform1i(at("photograph"), 1);
    gl.uniform2f(at("size"), size.width, size.height);
    gl.uniform3f(at("looking"), look.longitude, look.latitude, Math.tan(look.angle / 2));
    gl.uniform1f(at("way"), way);
    gl.uniform1f(at("wipe"), wipe);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
