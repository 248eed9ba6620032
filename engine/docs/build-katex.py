#!/usr/bin/env python3
"""Makes katex.html, which draws the formulas on the documentation's pages without a network, from KaTeX's npm package.

    npm pack katex && tar xzf katex-*.tgz && python3 engine/docs/build-katex.py package

The script is packed as a data URI, because rustdoc would take "<" in it for tags. Of the fonts only those that the formulas need are kept.
"""
import base64
import json
import pathlib
import re
import sys

FONTS = ["Main-Regular", "Math-Italic", "Size1-Regular", "Size2-Regular", "Size3-Regular", "Size4-Regular"]

# Formulas are `math` blocks, and code between dollar signs.
RENDER = """
(function () {
  function render(latex, element, display) {
    var place = document.createElement(display ? "div" : "span");
    katex.render(latex, place, { displayMode: display, throwOnError: false });
    element.replaceWith(place);
  }
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("pre.language-math").forEach(function (block) {
      render(block.textContent, block.closest(".example-wrap") || block, true);
    });
    document.querySelectorAll("code").forEach(function (code) {
      var before = code.previousSibling, after = code.nextSibling;
      if (!before || !after || !/\\$$/.test(before.nodeValue || "") || !/^\\$/.test(after.nodeValue || "")) return;
      before.nodeValue = before.nodeValue.slice(0, -1);
      after.nodeValue = after.nodeValue.slice(1);
      render(code.textContent, code, false);
    });
  });
})();
"""


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main(package: pathlib.Path) -> None:
    version = json.loads((package / "package.json").read_text())["version"]
    dist = package / "dist"

    def face(match: re.Match) -> str:
        font = re.search(r"KaTeX_([A-Za-z0-9-]+)\.woff2", match[0])[1]
        if font not in FONTS:
            return ""
        data = encoded((dist / "fonts" / f"KaTeX_{font}.woff2").read_bytes())
        return re.sub(r"src:[^}]*", f'src:url(data:font/woff2;base64,{data}) format("woff2")', match[0])

    style = re.sub(r"@font-face\{[^}]*\}", face, (dist / "katex.min.css").read_text().strip())
    script = (dist / "katex.min.js").read_bytes().strip() + RENDER.encode()
    page = (
        f"<!-- KaTeX {version} (https://katex.org; its licence is in KATEX-LICENSE), made by build-katex.py. -->\n"
        f"<style>{style}</style>\n"
        f'<script src="data:text/javascript;base64,{encoded(script)}"></script>\n'
    )
    folder = pathlib.Path(__file__).parent
    (folder / "katex.html").write_text(page)
    (folder / "KATEX-LICENSE").write_text((package / "LICENSE").read_text())


main(pathlib.Path(sys.argv[1]))
