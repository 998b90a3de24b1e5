"""Backgrounds of a scene as functions of direction: the sky of outdoor captures."""
