// Which Gaussian is seen at a place of the picture, and what there is to read about one.

/** The shown Gaussian that paints most at (x, y) in pixels and its share there, with near ones in front; or null. */
function pickAt(scene, splats, order, shown, x, y) {
  let passed = 1;
  let best = null;
  for (const index of order) {
    if (!shown[index]) continue;
    const alpha = alphaAt(scene, splats, index, x, y);
    if (alpha * passed > (best ? best.share : 0)) best = { index, share: alpha * passed };
    passed *= 1 - alpha;
  }
  return best;
}

function alphaAt(scene, splats, index, x, y) {
  const [dx, dy] = [x - splats.x[index], y - splats.y[index]];
  const power = 0.5 * (splats.a[index] * dx * dx + splats.c[index] * dy * dy) + splats.b[index] * dx * dy;
  const alpha = Math.min(scene.formula.alphaMax, splats.opacity[index] * Math.exp(-Math.max(power, 0)));
  return alpha < scene.formula.alphaMin ? 0 : alpha;
}

/** The ellipse of one sigma: semi-axes in pixels, and the angle of the first in degrees. */
function ellipseOf(splats, index) {
  const [xx, xy, yy] = [splats.xx[index], splats.xy[index], splats.yy[index]];
  const middle = (xx + yy) / 2;
  const half = Math.hypot((xx - yy) / 2, xy);
  return {
    x: splats.x[index],
    y: splats.y[index],
    first: Math.sqrt(middle + half),
    second: Math.sqrt(Math.max(0, middle - half)),
    angle: (Math.atan2(2 * xy, xx - yy) / 2) * (180 / Math.PI),
  };
}

/** Rows of name, value and unit or range for the panel. */
function readingsOf(scene, splats, index) {
  const numbers = numbersOf(scene, index);
  const ellipse = ellipseOf(splats, index);
  const list = (values) => values.map((value) => tidy(value)).join(", ");
  return [
    ["Depth order", `${scene.rank[index] + 1} of ${scene.count}`],
    ["Cluster", String(scene.groups[index] + 1)],
    ["Mean x, y, z", list(numbers.mean)],
    ["Scales", list(numbers.scales)],
    ["Quaternion w, x, y, z", list(unit(numbers.quaternion))],
    ["Colour r, g, b", list(numbers.colour)],
    ["Opacity", tidy(numbers.opacity)],
    ["Centre in this view", `${tidy(ellipse.x, 1)}, ${tidy(ellipse.y, 1)} px`],
    ["Sigmas in this view", `${tidy(ellipse.first, 2)}, ${tidy(ellipse.second, 2)} px`],
  ];
}

/** Of length 1, as the renderer uses it. */
function unit(quaternion) {
  const length = Math.hypot(...quaternion) || 1;
  return quaternion.map((value) => value / length);
}

function tidy(value, digits = 3) {
  return value.toFixed(digits).replace("-", "−");
}
