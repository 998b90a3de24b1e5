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
"""

ALPHA_MAX = 0.999
"""Upper clamp of α; the gradient through a clamped α is zero."""

ALPHA_MIN = 1.0 / 255.0
"""α below this is skipped, value and gradient."""

TRANSMITTANCE_MIN = 1e-4
"""A pixel is opaque once its transmittance is below this."""

EPS2D = 0.3
"""Variance in px² that is added to both axes of a projected covariance, so that no splat is thinner than a pixel."""

JACOBIAN_LIMIT = 1.3
"""The Jacobian is taken at most this many half-images off the axis, as in 3D Gaussian splatting."""

MAX_CHANNELS = 16
"""Channels of one composite call that every compiled backend must take."""
