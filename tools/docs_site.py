"""Takes results/ into the site, as a hook of mkdocs: documents link to it as in the repository.

In docs/ a link such as ``../results/diagnose/README.md`` works where the repository is browsed. The site has no such folder
above it, so the files of results/ are added below it, and links are written anew. A link to anything else outside of docs/,
such as code, becomes plain text: the site does not hold it.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
SHOWN = {".md", ".svg", ".png", ".json", ".txt"}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
"""A link or picture: takes [text](../results/page/README.md) and ![text](picture.svg), leaves [text] alone."""


def on_files(files: Files, config: Any) -> Files:
    """Add results/, and a page that lists it."""
    paths = sorted(path for path in (ROOT / "results").rglob("*") if path.suffix in SHOWN)
    for path in paths:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    listed = [
        "# Measured",
        "",
        "Every figure comes with its command, the machine, n, and what was not shown.",
        "",
    ]
    for path in paths:
        above = (path.parent / "README.md", path.parents[1] / "README.md")
        if path.suffix == ".md" and (path.name == "README.md" or not any(page.exists() for page in above)):
            title = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            listed.append(f"- [{title}]({path.relative_to(ROOT / 'results').as_posix()})")
    files.append(File.generated(config, "results/README.md", content="\n".join(listed) + "\n"))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Turn links that leave docs/ into ones of the site, or into text."""
    here = page.file.src_uri
    # Where the page lies in the repository, and so what its links are relative to.
    folder = posixpath.dirname(here if here.startswith("results/") else f"docs/{here}")

    def mended(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return link[0]
        place = posixpath.normpath(posixpath.join(folder, path))
        place = place.removeprefix("docs/")
        for found in (place, f"{place}/README.md"):
            if files.get_file_from_path(found):
                ours = posixpath.relpath(found, posixpath.dirname(here) or ".")
                return f"{picture}[{text}]({ours}{'#' + anchor if anchor else ''})"
        return link[0] if (ROOT / "docs" / place).exists() or not (ROOT / place).exists() else text

    return _LINK.sub(mended, markdown)
