"""Route files: public names and the models behind them, changed as a whole."""

from .parse import RouteFile, is_about_routes, parse_route_file

__all__ = ["RouteFile", "is_about_routes", "parse_route_file"]
