"""How close renderings of a scene are to photographs."""
