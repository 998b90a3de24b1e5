"""The formula of rendering and its constants: every backend and the viewer take them from here.

A Gaussian becomes a 2D splat by the EWA linearisation (Zwicker et al. 2001, eq. 26), with the camera model's projection
π and Jacobian J, the rotation W of the view and the Gaussian's covariance Σ:

    means2d = π(mean)
    conic   = (J W Σ Wᵀ Jᵀ + EPS2D · I)⁻¹ = [[a, b], [b, c]]

J is taken at most JACOBIAN_LIMIT half-images off the axis. Gaussians nearer than the camera's `near` or farther than
its `far` are culled. The others are sorted by depth, equal depths in the order in which they came.

For pixel centre p and splats i sorted near to far, with d = p − means2d_i:

    power_i = ½·(a·dx² + c·dy²) + b·dx·dy,                at least 0
    α_i     = min(ALPHA_MAX, opacity_i · exp(−power_i)),  0 where that is below ALPHA_MIN
    T_1     = 1,   T_{i+1} = T_i · (1 − α_i)
    color   = Σ_{i: T_i ≥ TRANSMITTANCE_MIN} T_i α_i color_i + T_end · background

T_end is the transmittance behind the last splat that was composited. The splat that takes the transmittance below
TRANSMITTANCE_MIN still counts; those behind it do not. (3D Gaussian splatting, Kerbl et al. 2023, eq. 3.)

A splat colours no pixel where its power exceeds ln(opacity / ALPHA_MIN). So its picture lies within
√(2 · ln(opacity / ALPHA_MIN) · covariance_xx) of its centre along x, and likewise along y.

**Filters.** The conic above is that of the filter "point": it is a Gaussian of variance EPS2D wider than the splat,
with the same opacity in the middle, so a splat thinner than a pixel shows more the smaller its picture is. The filter
"mip" makes up for it. With C the covariance before EPS2D is added, it takes

    opacity · √(det C / det (C + EPS2D · I))

for the opacity, so that the splat's sum over pixels stays the same (Mip-Splatting, Yu et al. 2024, eq. 10). gsplat and
splat files call it antialiased, and it has their variance; Mip-Splatting's own code takes 0.1.

The filter "analytic" integrates over the pixel's square instead of sampling its centre, and adds no variance:

    α = min(ALPHA_MAX, opacity · 2πσ₁σ₂ · [S((u + ½)/σ₁) − S((u − ½)/σ₁)] · [S((v + ½)/σ₂) − S((v − ½)/σ₂)])
    S(x) = 1 / (1 + exp(−(1.6·x + 0.07·x³)))

with d = (u, v) along the axes of the splat and its standard deviations σ₁, σ₂ there, at least √VARIANCE_MIN. The square
is turned to these axes; S is within 4e-4 of the normal distribution's (Analytic-Splatting, Liang et al. 2024, eq. 9).

**Panoramas.** There is no plane of which a Gaussian's picture is a part: it may cross the seam, or surround a pole. So
it is taken in the plane that touches the unit sphere at the direction m of its mean t, with orthonormal e₁, e₂ there
and f = √(fx · fy) pixels per radian, as by a pinhole camera that looks straight at it:

    M       = f · (e₁, e₂)ᵀ (I − m mᵀ) W R S / |t|
    conic   = (M Mᵀ + EPS2D · I)⁻¹
    d       = f · (e₁ᵀr, e₂ᵀr) / mᵀr              for the direction r of a pixel's centre, where mᵀr > FACING

Near, far and the order are by |t|. The filter is round in angle: the picture is a function on the sphere,
for any orientation of the camera, and its values at the directions of pixels are drawn. (360-GS, Bai et al. 2024,
section 3.2, and optimal projection, Huang et al. 2024. A Gaussian in the plane of the picture's pixels errs by the
square of its angle: 1 % for 10°, 4 % for 20°, and without bound at the poles. In its own tangent plane it errs no more
than before a pinhole camera that looks at it, so no Gaussian need be split.)
"""

ALPHA_MAX = 0.999
"""Upper clamp of α; the gradient through a clamped α is zero."""

ALPHA_MIN = 1.0 / 255.0
"""α below this is skipped, value and gradient."""

TRANSMITTANCE_MIN = 1e-4
"""A pixel is opaque once its transmittance is below this."""

EPS2D = 0.3
"""Variance in px² that is added to both axes of a projected covariance, so that no splat is thinner than a pixel."""

COMPENSATION_MIN = 1e-12
"""Lower clamp of the ratio of determinants by whose root the filter "mip" multiplies opacities; below it none shows."""

LOGISTIC = (1.6, 0.07)
"""Coefficients of x and x³ in the logistic function that stands for the normal distribution's."""

VARIANCE_MIN = 1e-4
"""Least variance along an axis that the filter "analytic" takes, px²."""

ROUND = 0.01
"""The filter "analytic" takes splats along the axes of pixels whose variances differ by at most this share of their
sum: their own axes have no limit."""

FILTERS = ("point", "mip", "analytic")
"""Names of the filters of pixels: see above."""

JACOBIAN_LIMIT = 1.3
"""The Jacobian is taken at most this many half-images off the axis, as in 3D Gaussian splatting."""

MAX_CHANNELS = 16
"""Channels of one composite call that every compiled backend must take."""

SURFEL_FLOOR = 0.5
"""Variance in px² of the Gaussian around a surfel's centre than which the surfel is nowhere thinner."""

EDGE_ON = 1e-3
"""Cosine of the angle between a surfel's normal and the ray of its centre up to which its floor alone is drawn; and the
least ratio of the depth of its centre to that at which a ray meets it."""

THINNEST = 1e-6
"""Standard deviation in pixels below which a surfel is drawn by its floor alone."""

NOWHERE = 1e15
"""Rows A and B of a surfel that is drawn by its floor alone, per pixel: all but its centre is far outside."""

FACING = 1e-3
"""A panorama draws a Gaussian where the cosine of the angle to its centre is above this: within 89.9°."""
