"""Write what the token view shows as a picture or a page: the engine's export."""

from __future__ import annotations

from sekft_engine.render.export import export, export_html, export_svg

__all__ = ["export", "export_html", "export_svg"]
