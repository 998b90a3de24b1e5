"""What lies behind a scene, by direction: the sky of captures outdoors."""
