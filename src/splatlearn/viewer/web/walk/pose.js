// Where the viewer stands and looks: an eye, and a turn whose rows are right, down and forward.

const STEEPEST = 0.995; // cosine between the line of sight and the vertical
const NEAREST = 0.02; // of the scene's radius, to the turning point

/** A pose from a row-major view matrix of 16 numbers. */
function poseOf(view, pivotDepth) {
  const turn = [view[0], view[1], view[2], view[4], view[5], view[6], view[8], view[9], view[10]];
  const shift = [view[3], view[7], view[11]];
  const eye = [0, 1, 2].map((axis) => -(turn[axis] * shift[0] + turn[3 + axis] * shift[1] + turn[6 + axis] * shift[2]));
  return { eye, turn, pivot: along(eye, row(turn, 2), pivotDepth) };
}

function row(turn, number) {
  return turn.slice(3 * number, 3 * number + 3);
}

function along(from, direction, length) {
  return from.map((value, axis) => value + length * direction[axis]);
}

function dot(first, second) {
  return first[0] * second[0] + first[1] * second[1] + first[2] * second[2];
}

function minus(first, second) {
  return first.map((value, axis) => value - second[axis]);
}

function cross([a, b, c], [x, y, z]) {
  return [b * z - c * y, c * x - a * z, a * y - b * x];
}

function unit(vector) {
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

/** A vector after a turn by `angle` about a unit axis (Rodrigues). */
function spun(vector, axis, angle) {
  const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
  const side = cross(axis, vector);
  const rest = dot(axis, vector) * (1 - cosine);
  return vector.map((value, place) => value * cosine + side[place] * sine + axis[place] * rest);
}

/** The translation that belongs to a pose: camera = turn · world + shift. */
function shiftOf({ eye, turn }) {
  return [0, 1, 2].map((number) => -dot(row(turn, number), eye));
}

/** Turns the line of sight to the left and upwards, or with `around` the eye about the turning point; in radians. */
function turned(pose, up, across, down, around) {
  const forward = row(pose.turn, 2);
  const right = row(pose.turn, 0);
  const steep = dot(spun(forward, right, down), up);
  if (Math.abs(steep) > STEEPEST && Math.abs(steep) > Math.abs(dot(forward, up))) down = 0;
  const spin = (vector) => spun(spun(vector, right, down), up, across);
  const turn = [0, 1, 2].flatMap((number) => spin(row(pose.turn, number)));
  if (!around) return { eye: pose.eye, turn, pivot: along(pose.eye, turn.slice(6), reach(pose)) };
  const eye = along(pose.pivot, spin(minus(pose.eye, pose.pivot)), 1);
  return { eye, turn, pivot: pose.pivot };
}

/** The distance to the turning point. */
function reach(pose) {
  return Math.hypot(...minus(pose.pivot, pose.eye));
}

/** Moves eye and turning point by lengths to the right, down and forward. */
function moved(pose, right, down, forward) {
  const shift = [0, 1, 2].map(
    (axis) => right * pose.turn[axis] + down * pose.turn[3 + axis] + forward * pose.turn[6 + axis],
  );
  return { ...pose, eye: along(pose.eye, shift, 1), pivot: along(pose.pivot, shift, 1) };
}

/** Goes towards the turning point: the distance is multiplied. Close to it, the point is pushed on. */
function closer(pose, factor, radius) {
  const length = Math.max(reach(pose) * factor, NEAREST * radius);
  return { ...pose, eye: along(pose.pivot, row(pose.turn, 2), -length) };
}

/** The same line of sight with the horizon level. */
function levelled(pose, up) {
  const forward = row(pose.turn, 2);
  const right = unit(cross(forward, up));
  return { ...pose, turn: [...right, ...cross(forward, right), ...forward] };
}
