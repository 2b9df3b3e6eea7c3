#!/usr/bin/python3
"""docs/operating.md says what every warning of the log means: each warning in the sources has some phrase of the table's first column,
and each phrase there is of some text in the sources.

    test_warnings.py SOURCE-ROOT"""
import re
import sys
from source_texts import LITERALS, joined, lacking, phrases, says_something, sources

PLACES = "/src/**/*.c", "/storage/**/*.c"


def warnings(root):
    for path, source in sources(root, *PLACES):
        for found in re.finditer(r"LOG_LEVEL_WARNING\s*,\s*(" + LITERALS + ")", source):
            text = joined(found[1])
            if says_something(text):
                yield path, text


def main():
    root = sys.argv[1]
    with open(root + "/docs/operating.md") as file:
        tables = file.read().split("## What every warning means")[1]
    known = [phrase for phrase in phrases(tables) if "'...'" not in phrase]
    found = list(warnings(root))
    texts = "\n".join(joined(literal) for _, source in sources(root, *PLACES) for literal in re.findall(LITERALS, source))
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
