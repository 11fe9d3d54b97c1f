"""Lets pages link to files outside of docs/, such as configs: each gets a page that shows it.

On the code host the same links lead to the files themselves.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

#: Where the pages of files lie.
FOLDER = "files"

_LINK = re.compile(r"\]\((\.\./[^)#\s]+)(#[^)]*)?\)")
# Languages to colour a file's text by, by its suffix.
_LANGUAGES = {".sbatch": "bash", ".sh": "bash", ".yaml": "yaml", ".json": "json", ".py": "python"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every such file, and for a folder with the files in it."""
    root = Path(config.docs_dir).parent
    links = (
        outside(file.src_uri, link)
        for file in files.documentation_pages()
        for link, _ in _LINK.findall(file.content_string)
    )
    # Of the README there are pages already.
    for target in sorted({link for link in links if link} - {"README.md"}):
        path = root / target
        inside = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else []
        for one in [path, *inside]:
            if one.exists():  # else the link stays as it is, and the build refuses it
                files.append(_page(config, one, one.relative_to(root).as_posix()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have the links lead to these pages."""
    here = page.file.src_uri

    def changed(link: re.Match[str]) -> str:
        target = outside(here, link[1])
        if target is None or files.get_file_from_path(uri := f"{FOLDER}/{target}.md") is None:
            return link[0]
        return f"]({posixpath.relpath(uri, posixpath.dirname(here) or '.')})"

    return _LINK.sub(changed, markdown)


def outside(src_uri: str, link: str) -> str | None:
    """Return the file that a link means, relative to the root; None if it is inside of docs/.

    Args:
        src_uri: The page with the link, relative to docs/.
        link: The link.
    """
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(src_uri), link))
    return None if target.startswith(("docs/", "../")) else target


def _page(config: MkDocsConfig, path: Path, name: str) -> File:
    if path.is_dir():
        names = sorted(one.name for one in path.iterdir() if one.is_file())
        text = f"# {name}\n\n" + "\n".join(f"- [{one}]({path.name}/{one}.md)" for one in names)
    elif path.suffix == ".md":
        text = path.read_text(encoding="utf-8")
    else:
        language = _LANGUAGES.get(path.suffix, "text")
        text = f"# {name}\n\n````{language}\n{path.read_text(encoding='utf-8').rstrip()}\n````"
    # The search is for the guides and the reference.
    content = f"---\nsearch: {{exclude: true}}\n---\n\n{text}\n"
    return File.generated(
        config, f"{FOLDER}/{name}.md", content=content, inclusion=InclusionLevel.NOT_IN_NAV
    )
