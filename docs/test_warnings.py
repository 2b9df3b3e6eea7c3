#!/usr/bin/python3
"""docs/operating.md says what every warning of the log means: each warning in the sources has some phrase of the table's first column,
and each phrase there is of some text in the sources.

    test_warnings.py SOURCE-ROOT"""
import glob
import re
import sys


def sources(root):
    for path in sorted(glob.glob(root + "/src/**/*.c", recursive=True) + glob.glob(root + "/storage/**/*.c", recursive=True)):
        with open(path) as file:
            yield path, file.read()


def joined(literals):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals))


# Literals: pieces in quotes, with names of formats (PRIu64) between them.
LITERALS = r'(?:"(?:[^"\\]|\\.)*"\s*(?:PRI\w+\s*)?)+'


def warnings(root):
    for path, source in sources(root):
        for found in re.finditer(r"LOG_LEVEL_WARNING\s*,\s*(" + LITERALS + ")", source):
            text = joined(found[1])
            if re.search("[A-Za-z]{3}", re.sub(r"%\S*", "", text)):
                yield path, text


def phrases(page):
    for line in page.split("## What every warning means")[1].splitlines():
        if line.startswith("| "):
            yield from (a or b for a, b in re.findall(r"``(.+?)``|`(.+?)`", line.split(" | ")[0]))


def lacking(found, known):
    return ["%s: %s" % (path, text) for path, text in found if not any(phrase in text for phrase in known)]


def main():
    root = sys.argv[1]
    with open(root + "/docs/operating.md") as file:
        known = [phrase for phrase in phrases(file.read()) if "'...'" not in phrase]
    found = list(warnings(root))
    texts = "\n".join(joined(literal) for _, source in sources(root) for literal in re.findall(LITERALS, source))
    if len(found) < 100 or len(known) < 60:
        sys.exit("FAILED: %d warnings in the sources, %d phrases in the page" % (len(found), len(known)))
    # Of use only if it sees one that is taken out.
    if not lacking(found, [phrase for phrase in known if phrase != "The log was cut:"]):
        sys.exit("FAILED: a missing warning is not seen")
    wrong = ["docs/operating.md lacks " + text for text in lacking(found, known)]
    wrong += ["docs/operating.md names what nothing says: " + phrase for phrase in known if phrase not in texts]
    if wrong:
        sys.exit("FAILED: " + "\n".join(wrong))


main()
