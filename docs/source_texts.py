"""What tests of the pages share: texts in the sources, and phrases in a page's tables that say what they mean."""
import glob
import re

# Literals: pieces in quotes, with names of formats (PRIu64) between them.
LITERALS = r'(?:"(?:[^"\\]|\\.)*"\s*(?:PRI\w+\s*)?)+'


def without_comments(source):
    """And without characters in quotes, as a double quote among them would begin a literal."""
    def keep(found):
        return found[0] if found[0].startswith('"') else " "
    return re.sub(r"""/\*.*?\*/|'(?:[^'\\]|\\.)'|"(?:[^"\\]|\\.)*\"""", keep, source, flags=re.S)


def sources(root, *patterns):
    for path in sorted(path for pattern in patterns for path in glob.glob(root + pattern, recursive=True)):
        with open(path) as file:
            yield path, without_comments(file.read())


def joined(literals):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals))


def says_something(text):
    return re.search("[A-Za-z]{3}", re.sub(r"%\S*", "", text)) is not None


def phrases(tables):
    """Those in the first column, between backticks."""
    for line in tables.splitlines():
        if line.startswith("| "):
            yield from (a or b for a, b in re.findall(r"``(.+?)``|`(.+?)`", line.split(" | ")[0]))


def lacking(found, known):
    return ["%s: %s" % (path, text) for path, text in found if not any(phrase in text for phrase in known)]
