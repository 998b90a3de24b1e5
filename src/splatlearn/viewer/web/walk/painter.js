// Draws a bundle's Gaussians, the photographs beside them and the outlines of cameras.

/** Paints a scene on a canvas. Throws where the browser has no WebGL2. */
class WalkPainter {
  constructor(canvas, bundle, formula, ramp) {
    Object.assign(this, { canvas, bundle, formula, ramp });
    this.start();
    this.means = this.readMeans();
    this.storeMeans();
  }

  /** Makes everything anew, at first and after the browser has taken the context away. */
  start() {
    const gl = this.canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, stencil: false });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    this.format = blendableFormat(gl);
    this.colouring = buildProgram(gl, WHOLE_VERTEX, COLOUR_FRAGMENT);
    this.splatting = buildProgram(gl, SPLAT_VERTEX, SPLAT_FRAGMENT);
    this.showing = buildProgram(gl, WHOLE_VERTEX, SHOW_FRAGMENT);
    this.outlining = buildProgram(gl, LINE_VERTEX, LINE_FRAGMENT);
    this.empty = gl.createVertexArray();
    this.orderArray = gl.createVertexArray();
    this.orderBuffer = gl.createBuffer();
    gl.bindVertexArray(this.orderArray);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.orderBuffer);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribIPointer(0, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(0, 1);
    this.lineArray = gl.createVertexArray();
    this.lineBuffer = gl.createBuffer();
    gl.bindVertexArray(this.lineArray);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    [0, 1].forEach((location) => {
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, 3, gl.FLOAT, false, 24, 12 * location);
    });
    gl.bindVertexArray(null);
    const { images, meta } = this.bundle;
    this.textures = {};
    for (const [part, image] of Object.entries(images)) this.textures[part] = this.textureOf(image);
    // What has no harmonics has nothing in their place, but a sampler needs a texture.
    for (const part of ["centroids", "labels"]) this.textures[part] ??= this.textures.sh0;
    this.textures.codebooks = this.codebooksOf(meta);
    const { exponents } = this.bundle;
    const { width, height } = images.meansLow;
    this.textures.exponents = exponents ? this.floats(gl.R32F, gl.RED, width, height, exponents) : this.textures.codebooks;
    this.textures.ramp = this.rampOf(this.ramp);
    this.photographs = new Map();
    this.target = null;
    this.eye = null;
    this.colors = buildTarget(gl, this.format, images.sh0.width, images.sh0.height);
    if (this.means) this.storeMeans();
    this.count = 0;
  }

  textureOf(image, { smooth = false } = {}) {
    const gl = this.gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, image);
    if (smooth) gl.generateMipmap(gl.TEXTURE_2D);
    sample(gl, smooth ? gl.LINEAR_MIPMAP_LINEAR : gl.NEAREST, smooth ? gl.LINEAR : gl.NEAREST);
    return texture;
  }

  codebooksOf(meta) {
    const gl = this.gl;
    const rows = new Float32Array(3 * 256);
    rows.set(meta.scales.codebook, 0);
    rows.set(meta.sh0.codebook, 256);
    if (meta.shN) rows.set(meta.shN.codebook, 512);
    return this.floats(gl.R32F, gl.RED, 256, 3, rows);
  }

  floats(format, layout, width, height, values) {
    const gl = this.gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, format, width, height, 0, layout, gl.FLOAT, values);
    sample(gl, gl.NEAREST, gl.NEAREST);
    return texture;
  }

  rampOf(colours) {
    const gl = this.gl;
    const texture = gl.createTexture();
    const bytes = Uint8Array.from(colours.flatMap((each) => [...each.map((value) => Math.round(255 * value)), 255]));
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, colours.length, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    sample(gl, gl.LINEAR, gl.LINEAR);
    return texture;
  }

  /** The bytes of an image of the bundle, four a pixel, as the GPU holds them: a 2D canvas would multiply by alpha. */
  bytesOf(part) {
    const gl = this.gl;
    const { width, height } = this.bundle.images[part];
    const frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.textures[part], 0);
    const bytes = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.deleteFramebuffer(frame);
    return bytes;
  }

  readMeans() {
    return meansOf(this.bundle.meta, this.bytesOf("meansLow"), this.bytesOf("meansHigh"));
  }

  storeMeans() {
    const gl = this.gl;
    const { width, height } = this.bundle.images.meansLow;
    const padded = new Float32Array(4 * width * height);
    for (let index = 0; index < this.bundle.count; index++)
      padded.set(this.means.subarray(3 * index, 3 * index + 3), 4 * index);
    this.textures.means = this.floats(gl.RGBA32F, gl.RGBA, width, height, padded);
  }

  /** Indices of what is drawn, far to near. */
  arrange(order) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.orderBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    this.count = order.length;
  }

  /** Vertices of six floats: place in the world and colour. */
  outline(vertices) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, vertices, gl.STATIC_DRAW);
    this.lines = vertices.length / 6;
  }

  /**
   * Draws a view: a pose, a lens (fx, fy, cx, cy, width, height of the canvas; tangents; eps2d, compensates), a background, and
   * `beside`: null, or the decoded photograph with its frame, the way of showing it, and where the wipe stands.
   */
  draw(pose, lens, { background, beside, hasLines, grown, discs }) {
    const gl = this.gl;
    if (gl.isContextLost()) return;
    this.target = fittedTarget(gl, this.canvas, this.target, this.format, lens.width, lens.height);
    this.colour(pose.eye);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    gl.viewport(0, 0, lens.width, lens.height);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const set = this.use(this.splatting, ["means", "scales", "quats", "codebooks", "exponents"], { colors: this.colors.texture });
    this.place(set, pose, lens);
    gl.uniform2f(set("tangents"), ...lens.tangents);
    gl.uniform2f(set("limits"), this.formula.alphaMin, this.formula.alphaMax);
    gl.uniform1f(set("eps2d"), lens.eps2d);
    gl.uniform1i(set("compensates"), lens.compensates ? 1 : 0);
    gl.uniform1i(set("bent"), this.bundle.exponents ? 1 : 0);
    gl.uniform1f(set("grown"), grown);
    gl.uniform1i(set("discs"), discs ? 1 : 0);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindVertexArray(this.orderArray);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
    gl.disable(gl.BLEND);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.show(beside);
    if (hasLines && this.lines) {
      this.place(this.use(this.outlining, [], {}), pose, lens);
      gl.bindVertexArray(this.lineArray);
      gl.drawArrays(gl.LINES, 0, this.lines);
    }
  }

  /** The colours in which an eye sees all Gaussians; only a new eye needs new ones. */
  colour(eye) {
    if (this.eye && eye.every((value, axis) => value === this.eye[axis])) return;
    const gl = this.gl;
    this.eye = eye;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.colors.frame);
    gl.viewport(0, 0, this.colors.width, this.colors.height);
    const set = this.use(this.colouring, ["means", "sh0", "labels", "centroids", "codebooks"], {});
    gl.uniform3f(set("eye"), ...eye);
    gl.uniform1i(set("degree"), this.bundle.degree);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  show(beside) {
    const gl = this.gl;
    const photograph = beside ? this.photographOf(beside.image) : this.textures.ramp;
    const set = this.use(this.showing, ["ramp"], { picture: this.target.texture, photograph });
    gl.uniform1i(set("way"), beside ? beside.way : 0);
    if (beside) {
      gl.uniform4f(set("frame"), ...beside.frame);
      gl.uniform1f(set("wipe"), beside.wipe);
      gl.uniform1f(set("most"), beside.most);
    }
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  photographOf(image) {
    if (!this.photographs.has(image)) this.photographs.set(image, this.textureOf(image, { smooth: true }));
    return this.photographs.get(image);
  }

  /** Uses a program and binds its textures; returns where its uniforms are. */
  use(program, parts, others) {
    const gl = this.gl;
    gl.useProgram(program);
    const set = (name) => gl.getUniformLocation(program, name);
    const bound = { ...Object.fromEntries(parts.map((part) => [part, this.textures[part]])), ...others };
    Object.entries(bound).forEach(([name, texture], unitNumber) => {
      gl.activeTexture(gl.TEXTURE0 + unitNumber);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(set(name), unitNumber);
    });
    gl.activeTexture(gl.TEXTURE0);
    return set;
  }

  place(set, pose, lens) {
    const gl = this.gl;
    // Matrices of WebGL are given by columns.
    gl.uniformMatrix3fv(set("turn"), true, pose.turn);
    gl.uniform3f(set("shift"), ...shiftOf(pose));
    gl.uniform4f(set("lens"), lens.fx, lens.fy, lens.cx, lens.cy);
    gl.uniform2f(set("size"), lens.width, lens.height);
    gl.uniform1f(set("near"), lens.near);
  }
}

function sample(gl, smaller, larger) {
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, smaller);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, larger);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
}
