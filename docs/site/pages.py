"""Hook of MkDocs: pages whose source lies outside of docs/, and links that lead out of the site.

README.md, benchmarks/README.md, CONTRIBUTING.md and CHANGELOG.md become pages. A link is resolved against the
repository, as a viewer of the repository resolves it: to a page or picture of the site it stays a link, to any
other file of the repository it becomes the path of that file, in code type.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {  # path in the repository -> path in the site
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}
TABLE = re.compile(r"^\|.*$", re.MULTILINE)
CODE = re.compile(r"`[^`\n]+`")
PARTS = re.compile(
    rf"^```.*?^```|{CODE.pattern}"  # code, which is left alone
    r"|\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)"
    r'|(?P<attribute>src|href)="(?P<url>[^"]+)"',
    re.DOTALL | re.MULTILINE,
)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#", re.IGNORECASE)  # a scheme, or an anchor of the same page


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add PAGES to the files of the site."""
    for source, path in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Rewrite the links of a page."""
    sources = {path: source for source, path in PAGES.items()}
    here = page.file.src_uri
    folder = dirname(sources.get(here, f"docs/{here}"))

    def rewrite(part: re.Match[str]) -> str:
        target = part["target"] or part["url"]
        if target is None or ELSEWHERE.match(target):
            return part[0]
        path, hash_, anchor = target.partition("#")
        path = normpath(join(folder, path))
        in_site = PAGES.get(path, path.removeprefix("docs/"))
        if (path in PAGES or path.startswith("docs/")) and files.get_file_from_path(in_site):
            link = relpath(in_site, dirname(here) or ".") + hash_ + anchor
            if part["attribute"]:
                return f'{part["attribute"]}="{re.sub(r"[.]md(?=#|$)", ".html", link)}"'
            return f"[{part['text']}]({link})"
        if part["attribute"] or not (ROOT / path).exists():
            return part[0]  # which strict mode reports
        code = f"`{path}`"
        return code if part["text"].strip("`") == path else f"{part['text']} ({code})"

    return TABLE.sub(_bars, PARTS.sub(rewrite, markdown))


def _bars(line: re.Match[str]) -> str:
    """A line of a table, without the backslash that viewers of a repository need before a bar in code."""
    return CODE.sub(lambda code: code[0].replace("\\|", "|"), line[0])
