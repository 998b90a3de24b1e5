// The cameras of the photographs, drawn as pyramids, and found again under the pointer.

const TRAINING = [0.16, 0.55, 0.71];
const HELD_OUT = [0.9, 0.49, 0.13];
const CHOSEN = [1, 1, 1];
const CLOSE = 24; // pixels of the page

/** Vertices of lines, six floats each; `length` is how far from its eye a pyramid's base lies, in world units. */
function frustaOf(cameras, length, chosen) {
  const vertices = [];
  cameras.forEach((camera, number) => {
    const colour = number === chosen ? CHOSEN : camera.heldOut ? HELD_OUT : TRAINING;
    const { eye, turn } = poseOf(camera.view, 1);
    const corner = (x, y) =>
      [0, 1, 2].map((axis) => {
        const [across, down] = [(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy];
        return eye[axis] + length * (across * turn[axis] + down * turn[3 + axis] + turn[6 + axis]);
      });
    const corners = [corner(0, 0), corner(camera.width, 0), corner(camera.width, camera.height), corner(0, camera.height)];
    corners.forEach((each, place) => {
      for (const end of [eye, each, each, corners[(place + 1) % 4]]) vertices.push(...end, ...colour);
    });
  });
  return Float32Array.from(vertices);
}

/** The camera whose eye is seen nearest to a place on the canvas, or -1; `within` pixels of the canvas. */
function cameraAt(cameras, pose, lens, x, y, within) {
  let [best, closest] = [-1, within];
  const shift = shiftOf(pose);
  cameras.forEach((camera, number) => {
    const { eye } = poseOf(camera.view, 1);
    const [across, down, depth] = [0, 1, 2].map((axis) => dot(row(pose.turn, axis), eye) + shift[axis]);
    if (depth <= lens.near) return;
    const gap = Math.hypot((lens.fx * across) / depth + lens.cx - x, (lens.fy * down) / depth + lens.cy - y);
    if (gap < closest) [best, closest] = [number, gap];
  });
  return best;
}
