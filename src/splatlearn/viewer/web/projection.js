// From Gaussians and a view to ellipses in pixels, as splatlearn.rendering.backends.torch.project computes them, in float64.

const FRONT = { across: 0, down: 0, stretch: 1, size: 1 }; // the model's own view

/**
 * Projects all Gaussians. `view`: degrees of tilt `across` and `down`, `stretch` of depth about the pivot, `size` that
 * multiplies standard deviations. Gives centres, conics and covariances in pixels, depths and opacities, by index.
 */
function project(scene, view) {
  const names = ["x", "y", "a", "b", "c", "xx", "xy", "yy", "depth", "opacity"];
  const splats = Object.fromEntries(names.map((name) => [name, new Float64Array(scene.count)]));
  const tilt = tiltMatrix(view);
  const turn = matmul(tilt, cameraTurn(scene.camera));
  for (let index = 0; index < scene.count; index++) {
    const at = index * NUMBERS;
    const position = place(scene, tilt, view.stretch, at);
    const axes = matmul(turn, rotation(scene.numbers, at + 6));
    for (let row = 0; row < 3; row++)
      for (let column = 0; column < 3; column++)
        axes[3 * row + column] *= scene.numbers[at + 3 + column] * view.size;
    const isDrawn = position[2] >= scene.camera.near && !(position[2] > (scene.camera.far ?? Infinity));
    splats.opacity[index] = isDrawn ? scene.numbers[at + 13] : 0;
    projectOne(splats, index, position, axes, scene.camera, scene.formula);
  }
  return splats;
}

/** Indices sorted near to far; equal depths keep their order. */
function depthOrder(depth) {
  return Uint32Array.from(depth.keys()).sort((i, j) => depth[i] - depth[j] || i - j);
}

/** Camera models by name, as the classes of splatlearn.core.cameras.models: whether depth moves centres and shrinks extents. */
const MODELS = {
  pinhole: { movesCentres: true, shrinksExtents: true },
  orthographic: { movesCentres: false, shrinksExtents: false },
  gmae: { movesCentres: false, shrinksExtents: true },
};

function modelOf(camera) {
  if (!Object.hasOwn(MODELS, camera.model)) throw new Error(`camera: no model is called ${camera.model}`);
  return MODELS[camera.model];
}

function projectOne(splats, index, [x, y, z], axes, camera, formula) {
  const depth = Math.max(z, camera.near);
  const perspective = modelOf(camera).movesCentres ? 1 / depth : 1;
  const [first, second] = imageRows(axes, x, y, depth, camera, formula.jacobianLimit);
  const xx = dot(first, first);
  const yy = dot(second, second);
  const xy = dot(first, second);
  const cross = [
    first[1] * second[2] - first[2] * second[1],
    first[2] * second[0] - first[0] * second[2],
    first[0] * second[1] - first[1] * second[0],
  ];
  const determinant = dot(cross, cross) + formula.eps2d * (xx + yy) + formula.eps2d * formula.eps2d;
  splats.x[index] = camera.fx * x * perspective + camera.cx;
  splats.y[index] = camera.fy * y * perspective + camera.cy;
  splats.a[index] = (yy + formula.eps2d) / determinant;
  splats.b[index] = -xy / determinant;
  splats.c[index] = (xx + formula.eps2d) / determinant;
  splats.xx[index] = xx + formula.eps2d;
  splats.xy[index] = xy;
  splats.yy[index] = yy + formula.eps2d;
  splats.depth[index] = z;
}

/** What a unit sphere in the Gaussian's own axes becomes on the image: two rows of three. */
function imageRows(axes, x, y, z, camera, jacobianLimit) {
  const row = (number) => [axes[3 * number], axes[3 * number + 1], axes[3 * number + 2]];
  const [across, down, along] = [row(0), row(1), row(2)];
  if (!modelOf(camera).shrinksExtents) return [across.map((v) => camera.fx * v), down.map((v) => camera.fy * v)];
  const limitX = (jacobianLimit * camera.width) / 2 / camera.fx;
  const limitY = (jacobianLimit * camera.height) / 2 / camera.fy;
  const tangentX = Math.min(Math.max(x / z, -limitX), limitX);
  const tangentY = Math.min(Math.max(y / z, -limitY), limitY);
  return [
    across.map((v, k) => (camera.fx / z) * (v - tangentX * along[k])),
    down.map((v, k) => (camera.fy / z) * (v - tangentY * along[k])),
  ];
}

/** A mean in camera space, its depth stretched and the whole tilted about the pivot on the camera's axis. */
function place(scene, tilt, stretch, at) {
  const view = scene.camera.view;
  const mean = scene.numbers;
  const moved = [0, 4, 8].map(
    (row) => view[row] * mean[at] + view[row + 1] * mean[at + 1] + view[row + 2] * mean[at + 2] + view[row + 3],
  );
  moved[2] = (moved[2] - scene.pivot) * stretch;
  const [x, y, z] = [0, 3, 6].map((row) => tilt[row] * moved[0] + tilt[row + 1] * moved[1] + tilt[row + 2] * moved[2]);
  return [x, y, z + scene.pivot];
}

/** Positive angles move what is near to the right, and down. */
function tiltMatrix({ across, down }) {
  const [i, j] = [(across * Math.PI) / 180, (down * Math.PI) / 180];
  const aboutY = [Math.cos(i), 0, -Math.sin(i), 0, 1, 0, Math.sin(i), 0, Math.cos(i)];
  const aboutX = [1, 0, 0, 0, Math.cos(j), -Math.sin(j), 0, Math.sin(j), Math.cos(j)];
  return matmul(aboutX, aboutY);
}

function cameraTurn({ view }) {
  return [view[0], view[1], view[2], view[4], view[5], view[6], view[8], view[9], view[10]];
}

/** Rotation matrix of a quaternion of any length but zero; zeros for that. */
function rotation(numbers, at) {
  const [w, x, y, z] = [numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]];
  const squared = w * w + x * x + y * y + z * z;
  if (squared === 0) return new Array(9).fill(0);
  const s = 2 / squared;
  return [
    1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y),
    s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x),
    s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y),
  ];
}

function matmul(first, second) {
  const product = new Array(9);
  for (let row = 0; row < 3; row++)
    for (let column = 0; column < 3; column++)
      product[3 * row + column] =
        first[3 * row] * second[column] +
        first[3 * row + 1] * second[3 + column] +
        first[3 * row + 2] * second[6 + column];
  return product;
}

function dot(first, second) {
  return first[0] * second[0] + first[1] * second[1] + first[2] * second[2];
}
