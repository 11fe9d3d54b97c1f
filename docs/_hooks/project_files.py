"""Pages may link to files outside docs/, such as configs: each gets a page that shows it.

On the code host the same links lead to the files themselves.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

#: Where the pages of files are put.
FOLDER = "files"

_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")
# The language of a file's text, by suffix.
_LANGUAGES = {
    ".sbatch": "bash",
    ".sh": "bash",
    ".yaml": "yaml",
    ".json": "json",
    ".py": "python",
    ".toml": "toml",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every such file, and for a folder with the files in it."""
    root = Path(config.docs_dir).parent
    pending = [
        target
        for file in files.documentation_pages()
        for target in _outside(f"docs/{file.src_uri}", file.content_string)
    ]
    shown: set[str] = set()
    while pending:
        name = pending.pop()
        path = root / name
        if name in shown or not path.exists():  # the build refuses a link that leads nowhere
            continue
        shown.add(name)
        if path.is_dir():
            pending += [f"{name}/{child.name}" for child in path.iterdir() if child.is_file()]
        elif path.suffix == ".md":
            pending += _outside(name, path.read_text(encoding="utf-8"))
        files.append(_page(config, path, name))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links at these pages."""
    here = page.file.src_uri

    def replaced(link: re.Match[str]) -> str:
        target = linked(f"docs/{here}", link[1])
        uri = f"{FOLDER}/{target}.md"
        if _in_docs(target) or files.get_file_from_path(uri) is None:
            return link[0]
        return f"]({posixpath.relpath(uri, posixpath.dirname(here) or '.')})"

    return _LINK.sub(replaced, markdown)


def linked(name: str, link: str) -> str:
    """Return the file that a link leads to, relative to the root.

    Args:
        name: The file with the link, relative to the root.
        link: The link.
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), link))


def _in_docs(name: str) -> bool:
    return name.startswith(("docs/", "../"))


def _outside(name: str, text: str) -> list[str]:
    targets = sorted({linked(name, link) for link, _ in _LINK.findall(text)})
    return [target for target in targets if not _in_docs(target)]


def _page(config: MkDocsConfig, path: Path, name: str) -> File:
    if path.is_dir():
        names = sorted(child.name for child in path.iterdir() if child.is_file())
        text = f"# {name}\n\n" + "\n".join(f"- [{file}]({path.name}/{file}.md)" for file in names)
    elif path.suffix == ".md":
        text = _moved(path.read_text(encoding="utf-8"), name)
    else:
        language = _LANGUAGES.get(path.suffix, "text")
        text = f"# {name}\n\n````{language}\n{path.read_text(encoding='utf-8').rstrip()}\n````"
    # The search covers the guides and the reference only.
    content = f"---\nsearch: {{exclude: true}}\n---\n\n{text}\n"
    return File.generated(
        config, f"{FOLDER}/{name}.md", content=content, inclusion=InclusionLevel.NOT_IN_NAV
    )


def _moved(text: str, name: str) -> str:
    """Return a file's Markdown with its links as its page needs them."""
    folder = posixpath.dirname(f"{FOLDER}/{name}")

    def replaced(link: re.Match[str]) -> str:
        target = linked(name, link[1])
        uri = target.removeprefix("docs/") if _in_docs(target) else f"{FOLDER}/{target}.md"
        return f"]({posixpath.relpath(uri, folder)}{link[2] or ''})"

    return _LINK.sub(replaced, text)
