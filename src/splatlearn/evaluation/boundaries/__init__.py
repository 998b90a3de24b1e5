"""The BSDS500 benchmark of edges: data, matching, thinning, scores and contenders."""
